"""Learns everything about srulight on a GPU in one command, on a machine that is there for minutes.

    make gpu-pack                                      here: what travels, into build/
    make gpu                                           there: 8 minutes, results in runs/gpu
    python benchmarks/gpu_session.py --only kernel layers --out runs/gpu
    python benchmarks/gpu_session.py --rehearse        all of it on a CPU: emulated kernels, tiny

Parts run one after the other, the most valuable first, each in processes of its own, with a limit
on its time; none stops the next. The folder holds session.json, session.log, tables.md (for
docs/explanation/gpu_kernels.md) and failures.md, and is whole after every part: run again with ``--only``, its
parts replace those of before.
"""

import argparse
import datetime
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import gpu_checks
import gpu_goals
import gpu_training
import tables
from gpu_parts import Finished, Outcome, Session
from trainings import ROOT

MEASURED = ("kernel", "layers", "attention", "stream", "memory", "rivals")
TINY = {"stream": ["--sizes", "2,8,1"], "attention": ["--sizes", "16,2,64"]}
WHEELS, LIBRARY, SITE = ROOT / "build/gpu/wheels", ROOT / "build/lib", ROOT / "build/gpu/site"
PUBLISHED = ROOT / "build/gpu/published"


class Part(NamedTuple):
    """One part of the session.

    Attributes:
        limit: Seconds it may take.
        run: What it does.
    """

    limit: float
    run: Callable[["Runner"], Outcome]


def measure(name: str) -> Callable[["Runner"], Outcome]:
    """Makes a part of benchmarks/gpu.py."""

    def run(session: "Runner") -> Outcome:
        rows = session.out / f"{name}.jsonl"
        rows.unlink(missing_ok=True)
        command = [sys.executable, "benchmarks/gpu.py", name, "--device", session.device]
        command += ["--json", str(rows), "--seconds", "0.01" if session.rehearsal else "0.35"]
        if session.rehearsal:
            command += TINY.get(name, ["--sizes", "5,2,64"])
            command += ["--contenders", "SRU", "LSTM"] if name == "layers" else []
        elif name in ("kernel", "layers") and session.has_published():
            command += ["--published", str(PUBLISHED)]
        done = session.command(*command)
        found = tables.read(rows)
        rows.unlink(missing_ok=True)
        left_out = [line for line in done.output.splitlines() if " is left out: " in line]
        return Outcome(done.complaints(f"{name}: benchmarks/gpu.py"), {"notes": left_out}, found)

    return run


PARTS = {
    "machine": Part(30, gpu_checks.machine),
    "library": Part(100, gpu_checks.library),
    "tests": Part(150, gpu_checks.tests),
    "kernel": Part(70, measure("kernel")),
    "layers": Part(70, measure("layers")),
    "training": Part(90, gpu_training.training),
    "attention": Part(30, measure("attention")),
    "stream": Part(25, measure("stream")),
    "memory": Part(20, measure("memory")),
    "resume": Part(60, gpu_training.resume),
    "sanitizer": Part(120, gpu_checks.sanitizer),
    "rivals": Part(60, measure("rivals")),
}


class Runner(Session):
    """A session whose commands are shown, logged, and stopped at the end of their part.

    Args:
        args: Options of the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.out: Path = args.out.absolute()
        self.out.mkdir(parents=True, exist_ok=True)
        self.rehearsal: bool = args.rehearse
        self.device = "cpu" if args.rehearse else "cuda"
        self.wheels, self.site, self.prebuilt = WHEELS, SITE, LIBRARY
        self.environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}
        path = [str(ROOT), str(ROOT / "benchmarks"), *([] if self.rehearsal else [str(SITE)])]
        path += [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
        self.environment["PYTHONPATH"] = os.pathsep.join(path)
        self.begin = time.monotonic()
        self.patience = 20 if self.rehearsal else 1  # a CPU's speed is not what is rehearsed
        self.end = self.begin + 60 * args.minutes * self.patience
        self.part_end = self.end
        self._published: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._log = (self.out / "session.log").open("a", encoding="utf-8")

    def close(self) -> None:
        """Closes the log."""
        self._log.close()

    def say(self, text: str) -> None:
        """Shows and logs a line."""
        with self._lock:
            print(text, flush=True)
            print(text, file=self._log, flush=True)

    def compile_published(self) -> None:
        """Compiles the published package's kernels meanwhile: it takes a minute, and no GPU."""
        if not self.rehearsal:
            self._published = subprocess.Popen(
                [sys.executable, "benchmarks/recurrences.py", str(PUBLISHED)], cwd=ROOT,
                env=self.environment, stdin=subprocess.DEVNULL, stdout=self._log,
                stderr=self._log, start_new_session=True,
            )  # fmt: skip

    def has_published(self) -> bool:
        """Waits for these kernels, and says whether they are there."""
        if self._published is None:
            return PUBLISHED.exists()
        try:
            code = self._published.wait(max(0.0, self.part_end - time.monotonic() - 30))
        except subprocess.TimeoutExpired:
            os.killpg(self._published.pid, signal.SIGKILL)
            code = -1
        if code != 0:
            self.say("the published package did not compile: it is left out")
        return code == 0

    def command(
        self, *command: str, quiet: bool = False, environment: dict[str, str] | None = None
    ) -> Finished:
        words = f"$ {shlex.join(command)}"
        if not quiet:
            self.say(words)
        process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment | (environment or {}), text=True,
            errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(max(0.0, self.part_end - time.monotonic()), stop)
        timer.start()
        lines = []
        with process:
            for line in process.stdout or ():
                lines.append(line)
                if not quiet:
                    self.say(line.rstrip("\n"))
        timer.cancel()
        output = "".join(lines)
        if quiet:
            with self._lock:
                print(words, output, sep="\n", file=self._log, flush=True)
        return Finished(None if stopped.is_set() else process.returncode, output)


def run_part(session: Runner, name: str, part: Part) -> dict[str, Any]:
    """Runs a part to its end, or to the end of its time."""
    begin = time.monotonic()
    session.part_end = min(session.end, begin + part.limit * session.patience)
    left = session.part_end - begin
    if left < 5:
        said = f"{name} was left out: the session's time was up"
        return {"seconds": 0, "failures": [said], "facts": {}, "tables": {}}
    at = begin - session.begin
    session.say(f"\n=== {name}, at {at:.0f} s, for {left:.0f} s at most")
    try:
        outcome = part.run(session)
    except Exception as error:  # a part's own fault must not cost the parts after it
        session.say(traceback.format_exc())
        outcome = Outcome([f"{name}: {type(error).__name__}: {error}"], {}, {})
    return {"seconds": round(time.monotonic() - begin, 1), **outcome._asdict()}


def write_report(out: Path, results: dict[str, Any]) -> None:
    """Writes what the parts found, as JSON, as tables and as sentences."""
    parts = results["parts"]
    found = {n: rows for part in parts.values() for n, rows in part["tables"].items()}
    goals = gpu_goals.judge(found)
    title = f"## {results['machine']}, {results['date']}\n\n`{results['command']}`\n"
    text = [title, "### Goals", tables.markdown(goals)] if goals else [title]
    for name, rows in found.items():
        text += [f"### {name}", tables.markdown(rows)]
    failures = [f"- {line}" for part in parts.values() for line in part["failures"]]
    missed = [f"- goal missed: {g['goal']}: {g['measured']}" for g in goals if g["met"] == "no"]
    for name, content in (
        ("session.json", json.dumps(results | {"goals": goals}, indent=1)),
        ("tables.md", "\n\n".join(text)),
        ("failures.md", "\n".join(failures + missed) or "Nothing failed."),
    ):
        part = out / f"{name}.part"
        part.write_text(content + "\n", encoding="utf-8")
        part.replace(out / name)


def parse(words: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/gpu"), help="folder of the results (%(default)s)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART",
        help=f"parts to run: {', '.join(PARTS)}",
    )  # fmt: skip
    parser.add_argument(
        "--skip", nargs="+", choices=PARTS, default=[], metavar="PART", help="parts not to run"
    )
    parser.add_argument(
        "--minutes", type=float, default=8, help="time for all parts together (%(default)s)"
    )
    parser.add_argument(
        "--rehearse", action="store_true",
        help="run on the CPU, with emulated kernels and tiny sizes; its figures mean nothing",
    )  # fmt: skip
    parser.add_argument(
        "--list-wheels", action="store_true", help="print what has to travel, and its size"
    )
    parser.add_argument(
        "--pack", action="store_true", help="fetch the wheels into build/gpu, then print the list"
    )
    return parser.parse_args(words)


def main() -> None:
    """Runs the session."""
    args = parse(sys.argv[1:])
    if args.list_wheels or args.pack:
        from wheels import pack  # needs what a bare machine may lack

        pack(WHEELS, LIBRARY, fetch=args.pack)
        return
    with closing(Runner(args)) as session:
        if not run_all(session, [n for n in PARTS if n in args.only and n not in args.skip]):
            raise SystemExit(1)


def run_all(session: Runner, names: list[str]) -> bool:
    """Runs parts, reports after each, and says whether nothing failed."""
    stored = session.out / "session.json"
    results: dict[str, Any] = {"machine": "", "parts": {}}
    if stored.exists():
        results = json.loads(stored.read_text())
    results["command"] = " ".join(["python", *sys.argv])
    results["date"] = datetime.date.today().isoformat()
    for name in names:
        results["parts"][name] = run_part(session, name, PARTS[name])
        if name == "machine":
            session.compile_published()
        results["machine"] = results["parts"].get("machine", {}).get("facts", {}).get("name", "")
        write_report(session.out, results)
        for line in results["parts"][name]["failures"]:
            session.say(f"FAILED {line}")
        if not (session.rehearsal or results["parts"][name]["facts"].get("has_gpu", True)):
            break
    session.say(f"\n{(session.out / 'tables.md').read_text()}")
    session.say((session.out / "failures.md").read_text())
    session.say(f"{time.monotonic() - session.begin:.0f} s; the results are in {session.out}")
    return not any(part["failures"] for part in results["parts"].values())


if __name__ == "__main__":
    main()
