"""The search, with a function in place of the training."""

import math
import re
import signal
import sqlite3
import statistics
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from srulight.experiments import sweep_report
from srulight.experiments.ranges import parse
from srulight.experiments.run import Epoch, Result, Run, RunError
from srulight.experiments.sweep import check, search
from srulight.experiments.trials import Search, Trials
from srulight.runtime.errors import InputError
from tests.python import python

pytest.importorskip("optuna")

LR = "model.optimizer.lr=log:1e-5..1e-1"
LAYERS = "model.encoder.num_layers=int:0..6"


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    # SQLite does not call Python's fsync, which all tests leave out; no test cuts the power.
    connect = sqlite3.connect

    def faster(path: Path, **options: Any) -> sqlite3.Connection:  # noqa: ANN401
        connection = connect(path, **options)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    monkeypatch.setattr(sqlite3, "connect", faster)


def trials(folder: Path, *ranges: str, mode: str = "min", **more: Any) -> Trials:  # noqa: ANN401
    return Trials(folder, Search(tuple(map(parse, ranges)), mode, **more))


def value(run: Run, key: str) -> float:
    return float(next(o for o in run.options if o.startswith(f"--{key}=")).split("=")[1])


@dataclass
class Training:
    """Computes in place of training; as a pool, it reports epochs and stops when asked to.

    Attributes:
        metric: Metric of a run after a number of epochs.
        epochs: Number of epochs.
        before: Called with each run.
    """

    metric: Callable[[Run, int], float]
    epochs: int = 1
    before: Callable[[Run], None] = lambda run: None

    def __call__(self, name: str, run: Run, on_epoch: Callable[[Epoch], bool]) -> Result | RunError:
        self.before(run)
        curve = []
        for number in range(1, self.epochs + 1):
            curve.append((float(number), self.metric(run, number)))
            if not on_epoch(Epoch(number, self.epochs, curve[-1][1])):
                return RunError("the process was killed by signal 15")
        best = min(point for _, point in curve)
        return Result("val/loss", "min", best, self.epochs, curve, 1.0, None, "", 1, None, 1)


def layers(run: Run, epoch: int = 1) -> float:
    """A parabola, which is smallest at 2 layers and largest at 6."""
    return (value(run, "model.encoder.num_layers") - 2) ** 2


def decades(run: Run, epoch: int = 1) -> float:
    """Decades between the learning rate and the best one, 3e-3."""
    return abs(math.log10(value(run, "model.optimizer.lr") / 3e-3))


def values(found: Trials) -> list[dict[str, Any]]:
    return [t.params for t in found.study.get_trials()]


@pytest.mark.parametrize(("mode", "best"), [("min", 2), ("max", 4)])
def test_a_grid_contains_the_best_value_once(tmp_path: Path, mode: str, best: int) -> None:
    found = trials(tmp_path, "model.encoder.num_layers=int:1..4", mode=mode, sampler="grid")
    search(found, [], Training(layers), jobs=2, most=100)
    assert sorted(one["model.encoder.num_layers"] for one in values(found)) == [1, 2, 3, 4]
    first = found.best()
    assert first is not None
    assert first.params["model.encoder.num_layers"] == best


def add(found: Trials, count: int) -> None:
    """Adds trials with learning rates that are spread evenly over the range, and no training."""
    import optuna

    kinds = {one.key: one.distribution() for one in found.search.ranges}
    for number in range(count):
        lr = 10 ** (-5 + 4 * number / (count - 1))
        params: dict[str, Any] = {"model.optimizer.lr": lr}
        if "model.encoder.num_layers" in kinds:
            params["model.encoder.num_layers"] = number % 7
        miss = abs(math.log10(lr / 3e-3))
        found.study.add_trial(
            optuna.trial.create_trial(params=params, distributions=kinds, value=miss)
        )


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_only_tpe_learns_from_earlier_trials(tmp_path: Path, sampler: str) -> None:
    found = trials(tmp_path, LR, sampler=sampler)
    add(found, 20)
    search(found, [], Training(decades), jobs=1, most=26)
    far = statistics.median(t.value or 0.0 for t in found.study.get_trials()[20:])
    # The distance of a random value is uniform up to 1.5 decades, and has its median at 1.
    assert far < 0.5 if sampler == "tpe" else far > 0.7


def test_an_interrupted_search_tries_the_same_values(tmp_path: Path) -> None:
    whole, parts = (trials(tmp_path / name, LR, LAYERS) for name in ("whole", "parts"))
    for found in (whole, parts):
        add(found, 10)
    search(whole, [], Training(decades), jobs=1, most=13)
    search(parts, [], Training(decades), jobs=1, most=11)
    assert len(values(parts)) == 11
    parts = trials(tmp_path / "parts", LR, LAYERS)
    search(parts, [], Training(decades), jobs=1, most=13)
    assert values(parts) == values(whole)
    other = trials(tmp_path / "other", LR, LAYERS, seed=1)
    add(other, 10)
    search(other, [], Training(decades), jobs=1, most=11)
    assert values(other)[10] != values(whole)[10]


def test_a_trial_that_was_killed_is_taken_up(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from srulight.experiments.ranges import parse
from srulight.experiments.run import Epoch
from srulight.experiments.trials import Search, Trials
found = Trials(Path({str(tmp_path)!r}), Search((parse({LR!r}),), "min"))
claim = found.claim(5)
claim.goes_on(Epoch(1, 3, 7.5))
print(claim.values, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = python("-c", code)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    found = trials(tmp_path, LR)
    names: list[str] = []
    training = Training(decades, 3, lambda run: names.append(run.folder.name))
    search(found, [], training, jobs=1, most=2)
    assert names == ["trial-0000", "trial-0001"]
    assert killed.stdout == f"{values(found)[0]}\n"
    first = found.study.get_trials()[0]
    assert first.state.name == "COMPLETE"
    assert first.intermediate_values[1] == 7.5  # the epoch was recorded before the kill
    assert [*first.intermediate_values] == [1, 2, 3]


def test_two_processes_share_the_trials(tmp_path: Path) -> None:
    one, two = (trials(tmp_path, LR) for _ in range(2))
    first, second = one.claim(3), two.claim(3)
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)
    assert first.values != second.values
    first.leave()
    again = two.claim(3)
    assert again is not None
    assert (again.number, again.values) == (0, first.values)
    third = one.claim(3)
    assert third is not None
    assert third.number == 2
    assert two.claim(3) is None


@pytest.mark.parametrize("mode", ["min", "max"])
def test_bad_trials_are_pruned(tmp_path: Path, mode: str) -> None:
    """After five trials, one that is worse than their median stops after its second epoch."""
    found = trials(tmp_path, LAYERS, mode=mode)
    sign = 1 if mode == "min" else -1
    # The first five trials reach 1 to 5, with a median of 3 in every epoch.
    metrics = iter([1, 2, 3, 4, 5, 3.5, 2.5])
    current: list[float] = []

    def metric(run: Run, epoch: int) -> float:
        return sign * current[-1]

    training = Training(metric, 4, lambda run: current.append(next(metrics)))
    search(found, [], training, jobs=1, most=7)
    *_, bad, good = found.study.get_trials()
    assert (bad.state.name, [*bad.intermediate_values]) == ("PRUNED", [1, 2])
    assert (good.state.name, [*good.intermediate_values]) == ("COMPLETE", [1, 2, 3, 4])


def test_the_last_epoch_is_never_pruned(tmp_path: Path) -> None:
    found = trials(tmp_path, LAYERS)
    metrics = iter([1, 1, 1, 1, 1, 9])
    current: list[float] = []
    training = Training(lambda run, e: current[-1], 2, lambda run: current.append(next(metrics)))
    search(found, [], training, jobs=1, most=6)
    assert found.study.get_trials()[5].state.name == "COMPLETE"


def test_no_pruner_prunes_nothing(tmp_path: Path) -> None:
    found = trials(tmp_path, LR, pruner="none")
    add(found, 5)
    search(found, [], Training(lambda run, epoch: 99.0, 3), jobs=1, most=6)
    assert found.study.get_trials()[5].state.name == "COMPLETE"


def test_hyperband_prunes(tmp_path: Path) -> None:
    found = trials(tmp_path, LR, pruner="hyperband", sampler="random", epochs=9)
    search(found, [], Training(decades, 9), jobs=1, most=8)
    states = [trial.state.name for trial in found.study.get_trials()]
    assert {*states} == {"COMPLETE", "PRUNED"}


def test_a_failure_is_one_of_the_trials(tmp_path: Path) -> None:
    def train(name: str, run: Run, on_epoch: Callable[[Epoch], bool]) -> Result | RunError:
        if layers(run) == 16:  # 6 layers
            return RunError("training stopped, because the loss is nan at step 7")
        metric = layers if layers(run) < 9 else lambda run, epoch: math.nan  # 5 layers
        return Training(metric)(name, run, on_epoch)

    found = trials(tmp_path, "model.encoder.num_layers=int:4..6", sampler="grid")
    search(found, [], train, jobs=1, most=3)
    errors = {
        t.params["model.encoder.num_layers"]: t.user_attrs["error"]
        for t in found.ended()
        if t.state.name == "FAIL"
    }
    assert errors == {
        5: "val/loss is nan",
        6: "training stopped, because the loss is nan at step 7",
    }
    assert [t.state.name for t in found.ended()][-2:] == ["FAIL", "FAIL"]


def test_if_all_fail_it_says_why(tmp_path: Path) -> None:
    found = trials(tmp_path, LAYERS)
    search(found, [], lambda *args: RunError("there is no file a.txt"), jobs=1, most=2)
    with pytest.raises(InputError, match=r"all 2 trials failed, .* because there is no file a.txt"):
        sweep_report.report(found, "val/loss", {})


@pytest.mark.parametrize("limit", [True, False])
def test_a_search_that_stops_leaves_its_trials(tmp_path: Path, limit: bool) -> None:
    asked = threading.Event()

    def train(name: str, run: Run, on_epoch: Callable[[Epoch], bool]) -> RunError:
        assert asked.wait(60)
        assert not on_epoch(Epoch(1, 9, 1.0))
        return RunError("the process ended with status 143")

    found = trials(tmp_path, LR)
    if limit:
        search(found, [], train, jobs=1, most=9, seconds=0.5, stop=asked.set)
    else:
        calls = iter(range(9))

        def before() -> None:
            if next(calls):  # the second of the two threads
                raise InputError("a.yaml has changed")

        with pytest.raises(InputError, match="has changed"):
            search(found, [], train, jobs=2, most=9, before=before, stop=asked.set)
    left = found.study.get_trials()
    assert [trial.state.name for trial in left] == ["RUNNING"]
    search(found, [], Training(decades), jobs=1, most=1)
    assert [trial.state.name for trial in found.study.get_trials()] == ["COMPLETE"]


def test_results_that_were_not_recorded_are_used(tmp_path: Path) -> None:
    found = trials(tmp_path, LAYERS)
    claim = found.claim(1)
    assert claim is not None
    run = Run(claim.folder, ("--model.encoder.num_layers=" + str(*claim.values.values()),), False)
    run.begin()
    done = Training(layers)("", run, lambda epoch: True)
    assert isinstance(done, Result)
    run.save(done)
    claim.leave()
    search(found, [], lambda *args: pytest.fail("it trained again"), jobs=1, most=1)
    assert found.ended()[0].value == layers(run)


def test_a_folder_contains_one_search(tmp_path: Path) -> None:
    first: dict[str, Any] = {"configuration": {"model.dropout": 0.1}}
    trials(tmp_path, LR, **first)
    trials(tmp_path, LR, **first)
    for ranges, more, said in (
        ((LAYERS,), first, r"range model.optimizer.lr: log:1e-5..1e-1 then, None now"),
        ((LR,), {"configuration": {"model.dropout": 0.2}}, "model.dropout: 0.1 then, 0.2 now"),
        ((LR,), first | {"sampler": "random"}, "--sampler: tpe then, random now"),
        ((LR,), first | {"epochs": 3}, "--epochs: None then, 3 now"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            trials(tmp_path, *ranges, **more)


def test_a_damaged_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"study.db: expected the trials of a sweep: .*database"):
        trials(tmp_path, LR)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a folder, got a file"):
        trials(tmp_path / "file", LR)


def save_checkpoint(run: Run) -> None:
    folder = run.folder / "version_0"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").touch()
    trainer = {"default_root_dir": str(run.folder), "max_epochs": 1, "enable_progress_bar": False}
    number = int(value(run, "model.encoder.num_layers"))
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"trainer": trainer, "layers": number, "ckpt_path": "x"})
    )


def reported(folder: Path) -> Trials:
    """Writes the results of 0 to 6 layers, of which 5 fail."""

    def train(name: str, run: Run, on_epoch: Callable[[Epoch], bool]) -> Result | RunError:
        save_checkpoint(run)
        return (
            RunError("bad luck, 5") if layers(run) == 9 else Training(layers)(name, run, on_epoch)
        )

    found = trials(folder, LAYERS, sampler="grid")
    search(found, [], train, jobs=1, most=7)
    shown = {"default_root_dir": "runs/a", "max_epochs": 20, "enable_progress_bar": None}
    sweep_report.report(found, "val/loss", shown)
    return found


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str], figures: list[Any]) -> None:
    found = reported(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "7 trials: 6 finished, 1 failed"
    assert lines[2].split() == ["trial", "val/loss", "epochs", "num_layers"]
    # (n - 2)^2 for n = 2, {1, 3}, {0, 4}, 6
    assert [line.split()[1] for line in lines[3:9]] == [
        "0.0000", "1.0000", "1.0000", "4.0000", "4.0000", "16.0000",
    ]  # fmt: skip
    assert lines[-1].endswith(f"fit --config {tmp_path / 'best.yaml'}")
    best = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert best == {
        "trainer": {"default_root_dir": "runs/a", "max_epochs": 20, "enable_progress_bar": None},
        "layers": 2,
    }
    rows = (tmp_path / "trials.csv").read_text().splitlines()
    assert rows[0] == (
        "trial,state,val/loss,epochs,seconds,parameters,model.encoder.num_layers,error"
    )
    order = [one["model.encoder.num_layers"] for one in values(found)]
    for number, (row, count) in enumerate(zip(rows[1:], order, strict=True)):
        if count == 5:
            assert row == f'{number},failed,,0,,,5,"bad luck, 5"'
        else:
            assert row == f"{number},finished,{(count - 2) ** 2}.0,1,1.0,1,{count},"
    kept = {int(path.parents[2].name[-4:]) for path in tmp_path.glob("*/*/checkpoints/best.ckpt")}
    assert kept == {order.index(2), order.index(5)}  # the best one, and what helps to see a failure

    history, settings = figures[0].axes[0], figures[2].axes[0]
    ended = [n for n in order if n != 5]
    step = history.lines[0].get_ydata()
    assert list(step[: len(ended)]) == [
        min((n - 2) ** 2 for n in ended[: i + 1]) for i in range(len(ended))
    ]
    points = {tuple(point) for point in settings.collections[0].get_offsets().tolist()}
    assert points == {(n, (n - 2) ** 2) for n in ended}
    for name in ("history", "settings", "importance"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
        assert "</svg>" in (tmp_path / f"{name}.svg").read_text()


def test_importance_is_that_of_the_setting_that_matters(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from srulight.experiments.sweep_plots import importances

    found = trials(tmp_path, LR, LAYERS)
    add(found, 50)  # the layers make no difference
    shares = importances(found)
    assert next(iter(shares)) == "model.optimizer.lr"
    assert shares["model.optimizer.lr"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


CONFIG = ["--config=configs/quickstart.yaml"]


def test_the_ends_of_ranges_are_checked_before_any_trial() -> None:
    checked = check(CONFIG, [parse("model.encoder=SRU|GRU"), parse("model.dropout=0.0..0.6")])
    assert (checked.monitor, checked.mode, checked.epochs) == ("val/accuracy", "max", 20)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["model.dropuot=0.0..0.5"], "has no option 'dropuot'"),
        (["model.encoder.num_layers=1..3"], "num_layers: expected int, got '1.0'"),
        (["model.encoder=SRU|CNN", "model.encoder.peephole=true|false"], "CNN has no option"),
    ],
)
def test_what_no_trial_could_train_is_an_error(
    texts: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        check(CONFIG, list(map(parse, texts)))
    assert error.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert said in err
