"""Folders of trainings, and the pool, with processes that only look like trainings."""

import io
import json
import re
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from srulight.experiments import run as module
from srulight.experiments.pool import Pool
from srulight.experiments.run import RESULT, SPEC, Epoch, Result, Run, RunError
from srulight.experiments.worker import per_epoch
from srulight.runtime.errors import InputError
from tests.experiments.test_comparison import result

WORKER = """
import json, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
kind = json.loads((folder / "settings.json").read_text())["options"][0]
print(json.dumps({"number": 1, "total": 2, "value": 0.5}), flush=True)
if kind == "fails":
    (folder / "run.log").write_text("noise\\nerror: the loss is not finite\\n")
    sys.exit(1)
if kind == "dies":
    import os
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "lasts":
    time.sleep(60)
(folder / "result.json").write_text((folder.parent / "example.json").read_text())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(module, "WORKER", (sys.executable, str(script)))
    Run(tmp_path, ()).save(result(0.75))
    (tmp_path / RESULT).rename(tmp_path / "example.json")
    return tmp_path


def test_results_are_read_as_they_were_written(folder: Path) -> None:
    run = Run(folder / "a", ("works",))
    assert run.result() is None
    assert Pool(1, 1).run("a", run) == run.result() == result(0.75)


def test_finished_trainings_are_not_repeated(folder: Path) -> None:
    runs = {name: Run(folder / name, ("works",)) for name in "abc"}
    Pool(2, 3).run_all(runs)
    for path in (runs["a"].folder / RESULT, runs["c"].folder / RESULT):
        text = path.read_text().replace("0.75", "0.25")
        path.write_text(text)
    seen: list[str] = []
    found = Pool(2, 3).run_all(runs, lambda name, _: seen.append(name))
    values = [one.best for one in found.values() if isinstance(one, Result)]
    assert values == [0.25, 0.75, 0.25]
    assert sorted(seen) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("fails", "the loss is not finite"), ("dies", "the process was killed by signal 9")],
)
def test_a_failure_does_not_stop_the_others(folder: Path, kind: str, reason: str) -> None:
    runs = {"bad": Run(folder / "bad", (kind,)), "good": Run(folder / "good", ("works",))}
    found = Pool(1, 2).run_all(runs)
    assert isinstance(found["bad"], RunError)
    assert str(found["bad"]).startswith(reason)
    assert isinstance(found["good"], Result)


def test_an_error_of_an_earlier_process_is_not_reported_again(folder: Path) -> None:
    run = Run(folder / "bad", ("dies",))
    run.begin()
    (run.folder / "run.log").write_text("error: something else\n")
    found = Pool(1, 1).run("bad", run)
    assert str(found).startswith("the process was killed by signal 9")


def test_a_training_is_stopped_early(folder: Path) -> None:
    seen: list[Epoch] = []

    def stop(epoch: Epoch) -> bool:
        seen.append(epoch)
        return False

    found = Pool(1, 1).run("a", Run(folder / "a", ("lasts",)), stop)
    assert isinstance(found, RunError)
    assert seen == [Epoch(1, 2, 0.5)]


def test_leaving_stops_all_trainings(folder: Path) -> None:
    pool = Pool(2, 2)
    runs = {name: Run(folder / name, ("lasts",)) for name in "ab"}
    threading.Timer(1.0, pool.stop).start()
    start = time.monotonic()
    with pool.shown():
        found = pool.run_all(runs)
    assert time.monotonic() - start < 30
    assert all(isinstance(one, RunError) for one in found.values())


def test_other_settings_need_another_folder(tmp_path: Path) -> None:
    Run(tmp_path, ("--a=1",)).begin()
    assert json.loads((tmp_path / SPEC).read_text())["options"] == ["--a=1"]
    assert Run.read(tmp_path) == Run(tmp_path, ("--a=1",))
    with pytest.raises(InputError, match="contains a training with other settings"):
        Run(tmp_path, ("--a=2",)).result()


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_text('{"best": 1}')
    with pytest.raises(InputError, match="expected the results of a training"):
        Run(tmp_path, ()).result()


@pytest.mark.parametrize(
    ("ends", "epochs", "seconds"),
    [([9.0, 11.0, 13.0], 3, 2.0), ([4.0], 1, 4.0), ([2.0, 3.0, 4.0, 5.0], 2, 2.0), ([8.0], 2, 4.0)],
)
def test_seconds_per_epoch(ends: list[float], epochs: int, seconds: float) -> None:
    assert per_epoch([(end, 0.0) for end in ends], epochs) == seconds


def test_bars_show_how_far_the_trainings_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()

    def terminal(**named: object) -> Console:
        return Console(file=text, force_terminal=True, width=100)

    monkeypatch.setattr("srulight.experiments.pool.Console", terminal)
    pool = Pool(1, 2)
    runs = {name: Run(folder / name, ("works",)) for name in "ab"}
    with pool.shown():
        pool.run_all(runs)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())
    assert "all trainings" in plain
    assert "2 of 2" in plain
    assert "[1/2] a: val/accuracy 0.7500, test 0.7500, 2 epochs of 2.00 s" in plain
