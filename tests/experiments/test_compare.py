"""The command compare, with trainings in this process."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from srulight.experiments import compare, pool
from srulight.experiments.run import Epoch, Result, Run, RunError
from srulight.experiments.trainings import folder_name
from srulight.experiments.worker import work
from srulight.runtime.errors import InputError

TINY = [
    "--config", "configs/quickstart.yaml", "--data.corpus.train_size=64",
    "--data.corpus.val_size=16", "--data.corpus.test_size=16", "--model.embedding_size=8",
    "--model.encoder.hidden_size=8",
]  # fmt: skip


class Here:
    """A training in this process; the folders of all of them are in ``begun``."""

    begun: list[Path] = []  # noqa: RUF012

    def __init__(self, run: Run, threads: int) -> None:
        run.begin()
        self.run = run
        self.begun.append(run.folder)

    def epochs(self) -> Iterator[Epoch]:
        lines = io.StringIO()
        self.run.save(work(self.run, lines))
        for line in lines.getvalue().splitlines():
            yield Epoch(**json.loads(line))

    def finish(self) -> Result:
        found = self.run.result()
        assert found is not None
        return found

    def stop(self) -> None:
        raise RunError("stopped")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(pool, "Process", Here)
    monkeypatch.setattr(Here, "begun", [])
    monkeypatch.setattr("srulight.experiments.worker._SECONDS", 0.0)
    # To draw a picture takes as long as these trainings.
    for module in ("training.callbacks.plot_curves", "targets.report", "experiments.figure"):
        monkeypatch.setattr(f"srulight.{module}.module_available", lambda name: False)
    return Here.begun


@pytest.mark.slow
def test_encoders_are_compared_and_nothing_is_repeated(
    begun: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*TINY, "--encoders", "SRU", "lstm,hidden_size=8", "--epochs", "2"]
    args += ["--output", str(tmp_path), "--metrics", "accuracy", "macro_f1"]
    compare.run([*args, "--seeds", "1"])
    assert [path.relative_to(tmp_path / "quickstart").as_posix() for path in begun] == [
        "SRU/seed-1", "lstm_hidden_size=8/seed-1",
    ]  # fmt: skip
    compare.run([*args, "--seeds", "2"])
    assert len(begun) == 4
    out = capsys.readouterr().out
    assert "SRU and lstm,hidden_size=8 cannot be compared on one seed" in out
    assert "on 2 seeds" in out
    data = json.loads((tmp_path / "comparison.json").read_text())
    for encoder in data["comparisons"][0]["encoders"]:
        assert [run["seed"] for run in encoder["runs"]] == [1, 2]
        for run in encoder["runs"]:
            assert len(run["curve"]) == run["epochs"] == 2
            assert (16 * run["test"]["accuracy"]).is_integer()
            assert set(run["latency"]) == {"1", "32"}
    sru, lstm = (encoder["runs"][0] for encoder in data["comparisons"][0]["encoders"])
    # The preset of the LSTM has 2 layers, each with 8 * 8 * 8 weights and 8 * 8 biases.
    layer = 8 * 8 * 8 + 8 * 8
    # An SRU layer has 3 * 8 * 8 weights, and 4 * 8 biases and peepholes.
    assert lstm["parameters"] - sru["parameters"] == 2 * (layer - 3 * 8 * 8 - 4 * 8)
    with pytest.raises(InputError, match="contains a training with other settings"):
        compare.run([*args, "--seeds", "1", "--trainer.gradient_clip_val=1"])


@pytest.mark.slow
def test_the_best_trial_and_the_time_decide(
    begun: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*TINY, "--encoders", "SRU", "--tune", "2", "--minutes", "1e-6", "--seeds", "1"]
    args += ["--equal_parameters", "--output", str(tmp_path)]
    args += ["--model.scheduler=Cosine", "--model.scheduler.steps={steps}"]
    compare.run(args)
    assert "[5/5] SRU seed 1: " in capsys.readouterr().err
    places = [path.name for path in begun]
    assert places == ["probe-of-defaults", "trial-1", "trial-2", "probe", "seed-1"]
    runs = {path.name: Run.read(path) for path in begun}
    assert "--trainer.max_epochs=1" in runs["seed-1"].options
    # 64 examples in batches of 32.
    assert "--model.scheduler.steps=2" in runs["seed-1"].options
    assert not runs["trial-2"].test
    (found,) = json.loads((tmp_path / "comparison.json").read_text())["comparisons"][0]["encoders"]
    best = max(range(2), key=lambda number: found["trials"][number])
    rate = [o for o in runs[f"trial-{best + 1}"].options if "optimizer.lr" in o]
    assert [o for o in runs["seed-1"].options if "optimizer.lr" in o] == rate


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("quickstart", ["--seed_everything=1", "--data.seed=1"]),
        ("language_model", ["--seed_everything=1"]),  # reads its text in order
    ],
)
def test_a_seed_goes_to_all_that_takes_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str, options: list[str]
) -> None:
    taken: list[str] = []

    class Fails(Here):
        def epochs(self) -> Iterator[Epoch]:
            taken.extend(o for o in self.run.options if "seed" in o)
            raise RunError("out of memory")

    monkeypatch.setattr(pool, "Process", Fails)
    with pytest.raises(InputError, match="1 of 1 trainings failed"):
        compare.run([f"--config=configs/{config}.yaml", "--encoders", "SRU", "--seeds", "1",
                     "--output", str(tmp_path)])  # fmt: skip
    assert taken == options


def test_failures_are_reported_at_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Fails(Here):
        def epochs(self) -> Iterator[Epoch]:
            raise RunError("out of memory")

    monkeypatch.setattr(pool, "Process", Fails)
    with pytest.raises(InputError, match="2 of 2 trainings failed"):
        compare.run([*TINY, "--encoders", "SRU", "--seeds", "2", "--output", str(tmp_path)])
    assert "SRU, seed 1, failed: out of memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--encoders", "SUR"], "there is no Encoder called 'SUR'"),
        (["--encoders", "SRU", "SRU"], "--encoders must differ, got SRU twice"),
        (["--encoders", "SRU", "--seeds", "0"], "seeds must be at least 1"),
        (["--encoders", "SRU", "--minutes", "-1"], "minutes must be above 0"),
        (["--encoders", "SRU", "--minutes", "1", "--epochs", "1"], "exclude each other"),
        (["--encoders", "SRU", "--folds", "3"], "needs a corpus with a setting called fold"),
        (["--encoders", "SRU", "--trainer.max_epochs=3"], "is set by compare"),
        (["--encoders", "SRU", "--model.dropuot=3"], "dropuot"),
        (["--encoders", "SRU", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_mistakes_are_found_before_training(
    args: list[str], sentence: str, tmp_path: Path, begun: list[Path]
) -> None:
    with pytest.raises(InputError, match=sentence):
        compare.run([*TINY, *args, "--output", str(tmp_path / "out")])
    assert not begun
    assert not (tmp_path / "out").exists()


def test_an_option_without_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        compare.prepare([*TINY, "--encoders"])
    assert capsys.readouterr().err == "error: argument --encoders: expected at least one argument\n"


def test_a_corpus_with_folds_has_ten(tmp_path: Path) -> None:
    args = ["--config", "configs/mr.yaml", "--encoders", "SRU", "--output", str(tmp_path)]
    _, (field,) = compare.prepare(args)
    assert field.folds == [(f"--data.corpus.fold={k}",) for k in range(10)]


@pytest.mark.parametrize(
    ("label", "name"),
    [("SRU,num_layers=4", "SRU_num_layers=4"), ("../x", "_x"), ("a/b.yaml", "a_b.yaml")],
)
def test_folders_have_plain_names(label: str, name: str) -> None:
    assert folder_name(label) == name
