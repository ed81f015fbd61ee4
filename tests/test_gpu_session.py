"""A rehearsal, without a GPU, of the session that measures on a GPU."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import gpu_goals
import gpu_session
import gpu_training
import pytest
import recurrences
import wheels
from gpu_parts import Finished, Outcome, Session

from srulight.bench import tables
from tests.documents import ROOT
from tests.python import python


@pytest.fixture
def session(tmp_path: Path) -> Iterator[gpu_session.Runner]:
    args = gpu_session.parse(["--rehearse", "--out", str(tmp_path)])
    with closing(gpu_session.Runner(args)) as runner:
        runner.patience = 1
        yield runner


class Forking(gpu_session.Runner):
    """Forks Python where it would be started, which is most of a rehearsal."""

    def command(
        self, *command: str, quiet: bool = False, environment: dict[str, str] | None = None
    ) -> Finished:
        program, *args = command
        if program != sys.executable:
            return super().command(*command, quiet=quiet, environment=environment)
        done = python(*args, cwd=ROOT, env=self.environment | (environment or {}), timeout=600)
        return Finished(done.returncode, done.stdout + done.stderr)


def rehearse(out: Path, *options: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["session", "--rehearse", "--out", str(out), *options])
        gpu_session.main()


@pytest.mark.slow(minutes=2)
def test_all_parts_are_rehearsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_session, "Runner", Forking)
    rehearse(tmp_path)
    session = json.loads((tmp_path / "session.json").read_text())
    assert list(session["parts"]) == list(gpu_session.PARTS)
    found = {name for part in session["parts"].values() for name in part["tables"]}
    assert found == {"training", *gpu_session.MEASURED}
    assert session["parts"]["resume"]["facts"]["largest difference of a weight"] == 0
    losses = session["parts"]["training"]["tables"]["training"]
    assert len(losses) == 15
    # Emulated kernels against the CPU's: in float32 they are close, and not the same program.
    exact = [row["5 losses differ by"] for row in losses if row["precision"] == "32-true"]
    assert 0 < max(exact) < 1e-5
    assert (tmp_path / "failures.md").read_text() == "Nothing failed.\n"
    assert (tmp_path / "tables.md").read_text().count("| bfloat16 |") >= 8
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [
        "failures.md", "session.json", "session.log", "tables.md",
    ]  # fmt: skip


def test_a_part_is_stopped_at_its_limit_and_the_next_one_runs(
    session: gpu_session.Runner, tmp_path: Path
) -> None:
    def sleep(session: Session) -> Outcome:
        code = "print('began', flush=True); import time; time.sleep(600)"
        return Outcome(session.command(sys.executable, "-c", code).complaints("sleep"), {}, {})

    begin = time.monotonic()
    part = gpu_session.run_part(session, "sleep", gpu_session.Part(6, sleep))
    assert time.monotonic() - begin < 300
    assert part["failures"] == ["sleep was stopped at its time limit"]
    assert "began" in (tmp_path / "session.log").read_text()

    def fail(session: Session) -> Outcome:
        return Outcome(session.command(sys.executable, "-c", "0 / 0").complaints("zero"), {}, {})

    part = gpu_session.run_part(session, "zero", gpu_session.Part(60, fail))
    assert part["failures"] == ["zero exited with status 1: ZeroDivisionError: division by zero"]

    def mistaken(session: Session) -> Outcome:
        raise KeyError("absent")

    part = gpu_session.run_part(session, "mistaken", gpu_session.Part(60, mistaken))
    assert part["failures"] == ["mistaken: KeyError: 'absent'"]

    session.end = time.monotonic()
    part = gpu_session.run_part(session, "late", gpu_session.Part(60, fail))
    assert part["failures"] == ["late was skipped because the session ran out of time"]


def test_parts_run_again_replace_those_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def part(name: str) -> gpu_session.Part:
        def run(session: Session) -> Outcome:
            ran.append(name)
            return Outcome([], {"time": ran.count(name)}, {})

        return gpu_session.Part(9, run)

    for name in ("sanitizer", "machine"):
        monkeypatch.setitem(gpu_session.PARTS, name, part(name))
    for only in (["sanitizer", "machine"], ["machine"]):
        rehearse(tmp_path, "--only", *only)
    session = json.loads((tmp_path / "session.json").read_text())
    found = {name: part["facts"]["time"] for name, part in session["parts"].items()}
    assert found == {"machine": 2, "sanitizer": 1}
    assert session["command"].endswith("--only machine")


def test_a_failure_is_told_and_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = gpu_session.Part(9, lambda _: Outcome(["it broke"], {}, {}))
    monkeypatch.setitem(gpu_session.PARTS, "machine", part)
    with pytest.raises(SystemExit, match="1"):
        rehearse(tmp_path, "--only", "machine")
    assert (tmp_path / "failures.md").read_text() == "- it broke\n"


def test_goals_are_judged_by_their_worst_case() -> None:
    rows: list[tables.Row] = [
        {"dtype": "bfloat16", "T, B, d": "128,32,512", "pass": "forward", "share of copy": 0.9},
        {"dtype": "float32", "T, B, d": "512,32,1024", "pass": "forward", "share of copy": 0.8},
        # 8,192 channels do not fill a GPU.
        {"dtype": "float32", "T, B, d": "4096,8,1024", "pass": "forward", "share of copy": 0.1},
    ]
    layers: list[tables.Row] = [
        {"dtype": "float32", "T, B, d": "32,32,256", "pass": "forward", "LSTM / SRU": 12.0},
        {"dtype": "float32", "T, B, d": "16384,1,512", "pass": "forward", "LSTM / SRU": 2.0},
    ]
    judged = gpu_goals.judge({"kernel": rows, "layers": layers})
    assert [(goal["measured"], goal["met"]) for goal in judged] == [
        ("0.8, worst of 2 measured (float32, 512,32,1024, forward)", "no"),
        ("12, worst of 1 measured (float32, 32,32,256, forward)", "yes"),
    ]


def test_losses_that_differ_from_the_cpus_are_told(tmp_path: Path) -> None:
    for name, losses in {"CPU": [0.7, 0.6], "32-true": [0.7, 0.62], "16-mixed": [0.71]}.items():
        folder = tmp_path / name / "version_0"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("step,val/accuracy\n9,0.5\n")
        (tmp_path / name / "losses.json").write_text(json.dumps(losses))
    row, wrong = gpu_training.compare(tmp_path, "quickstart", "32-true")
    assert wrong == [
        "training: quickstart, 32-true: loss 2 is 0.62000, but 0.60000 on the CPU; "
        "expected a relative difference of at most 5e-03"
    ]
    assert row["steps"] == 10
    assert row["value"] == 0.5
    assert len(gpu_training.compare(tmp_path, "quickstart", "16-mixed")[1]) == 1
    assert gpu_training.compare(tmp_path, "quickstart", "bf16-mixed")[1] == [
        "training: quickstart, bf16-mixed: no losses to compare"
    ]


def test_lists_what_has_to_travel() -> None:
    listed = wheels.needed()
    names = {line.split("==")[0] for line in listed}
    assert {"lightning", "jsonargparse", "torchmetrics", "torchtext", "soundfile"} <= names
    assert not names & {"torch", "numpy", "sympy", "srulight", "mypy"}
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower(): line.lower() for line in constraints if "==" in line}
    assert all(pinned.get(line.split("==")[0], line) == line for line in listed)


def test_the_published_package_is_mended_in_a_copy(tmp_path: Path) -> None:
    pytest.importorskip("sru")
    folder = recurrences.mend_published(tmp_path / "published")
    assert folder is not None
    sources = [*folder.glob("sru/csrc/*.cu"), *folder.glob("sru/csrc/*.cpp")]
    code = "".join(path.read_text() for path in sources)
    assert "x.is_cuda()" in code
    assert "U.scalar_type()" in code
    assert ".type()" not in code


def test_a_table_has_every_column_and_a_dash_for_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    recorder = tables.Recorder("speed", path)
    recorder.add({"size": "1,2", "us": 12.345})
    recorder.add({"size": "3,4", "us": 12345.6, "LSTM": None})
    assert tables.markdown(tables.read(path)["speed"]).splitlines() == [
        "| size | us | LSTM |",
        "|---|---|---|",
        "| 1,2 | 12.3 | - |",
        "| 3,4 | 12,346 | - |",
    ]
