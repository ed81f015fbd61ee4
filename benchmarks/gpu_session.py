"""Tests and measures srulight on a GPU with one command, for machines available only for minutes.

    make gpu-pack                                 on another machine: packs wheels into build/
    make gpu                                      8 minutes; the results are in runs/gpu
    python benchmarks/gpu_session.py --only kernel layers --out runs/gpu
    python benchmarks/gpu_session.py --rehearse   on a CPU, with emulated kernels and tiny sizes

The parts run one after the other, the most valuable first. Each part runs in processes of its own
and has a time limit. A part that fails does not stop the next. The output folder contains
session.json, session.log, tables.md (for docs/explanation/gpu_kernels.md) and failures.md, which
are complete after every part. With ``--only``, the new results of these parts replace the old
ones.
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
from gpu_parts import ROOT, Finished, Outcome, Session

from srulight.bench import tables

MEASURED = ("kernel", "layers", "attention", "stream", "memory", "rivals")
TINY = {"stream": ["--sizes", "2,8,1"], "attention": ["--sizes", "16,2,64"]}
WHEELS, LIBRARY, SITE = ROOT / "build/gpu/wheels", ROOT / "build/lib", ROOT / "build/gpu/site"
PUBLISHED = ROOT / "build/gpu/published"


class Part(NamedTuple):
    """One part of the session.

    Attributes:
        limit: Time limit in seconds.
        run: Function that runs the part.
    """

    limit: float
    run: Callable[["Runner"], Outcome]


def measure(name: str) -> Callable[["Runner"], Outcome]:
    """Creates a part that runs one part of benchmarks/gpu.py."""

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
        left_out = [line for line in done.output.splitlines() if " is skipped: " in line]
        return Outcome(done.complaints(f"{name}: benchmarks/gpu.py"), {"notes": left_out}, found)

    return run


PARTS = {
    "machine": Part(30, gpu_checks.machine),
    "library": Part(100, gpu_checks.library),
    "tests": Part(150, gpu_checks.tests),
    "kernel": Part(70, measure("kernel")),
    "layers": Part(90, measure("layers")),
    "training": Part(90, gpu_training.training),
    "attention": Part(45, measure("attention")),
    "stream": Part(25, measure("stream")),
    "memory": Part(20, measure("memory")),
    "resume": Part(60, gpu_training.resume),
    "sanitizer": Part(120, gpu_checks.sanitizer),
    "rivals": Part(60, measure("rivals")),
}


class Runner(Session):
    """A session that prints and logs its commands, and stops them at the limit of their part.

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
        self.patience = 20 if self.rehearsal else 1  # a rehearsal does not measure speed
        self.end = self.begin + 60 * args.minutes * self.patience
        self.part_end = self.end
        self._published: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._log = (self.out / "session.log").open("a", encoding="utf-8")

    def close(self) -> None:
        """Closes the log."""
        self._log.close()

    def say(self, text: str) -> None:
        """Prints and logs a line."""
        with self._lock:
            print(text, flush=True)
            print(text, file=self._log, flush=True)

    def compile_published(self) -> None:
        """Compiles the published package in the background. This takes a minute and no GPU."""
        if not self.rehearsal:
            self._published = subprocess.Popen(
                [sys.executable, "benchmarks/recurrences.py", str(PUBLISHED)], cwd=ROOT,
                env=self.environment, stdin=subprocess.DEVNULL, stdout=self._log,
                stderr=self._log, start_new_session=True,
            )  # fmt: skip

    def has_published(self) -> bool:
        """Waits for the published package, and returns whether it compiled."""
        if self._published is None:
            return PUBLISHED.exists()
        try:
            code = self._published.wait(max(0.0, self.part_end - time.monotonic() - 30))
        except subprocess.TimeoutExpired:
            os.killpg(self._published.pid, signal.SIGKILL)
            code = -1
        if code != 0:
            self.say("the published package did not compile and is skipped")
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
            with suppress(ProcessLookupError):  # the process has just ended
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
    """Runs a part until it ends or reaches its time limit."""
    begin = time.monotonic()
    session.part_end = min(session.end, begin + part.limit * session.patience)
    left = session.part_end - begin
    if left < 5:
        said = f"{name} was skipped because the session ran out of time"
        return {"seconds": 0, "failures": [said], "facts": {}, "tables": {}}
    at = begin - session.begin
    session.say(f"\n=== {name}, at {at:.0f} s, limit {left:.0f} s")
    try:
        outcome = part.run(session)
    except Exception as error:  # an error in one part must not stop the others
        session.say(traceback.format_exc())
        outcome = Outcome([f"{name}: {type(error).__name__}: {error}"], {}, {})
    return {"seconds": round(time.monotonic() - begin, 1), **outcome._asdict()}


def write_report(out: Path, results: dict[str, Any]) -> None:
    """Writes the results of the parts as JSON, as tables and as sentences."""
    parts = results["parts"]
    found = {n: rows for part in parts.values() for n, rows in part["tables"].items()}
    goals = gpu_goals.judge(found)
    title = f"## {results['machine']}, {results['date']}\n\n`{results['command']}`\n"
    text = [title, "### Goals", tables.markdown(goals)] if goals else [title]
    for name, rows in found.items():
        text += [f"### {name}", tables.markdown(rows)]
    failures = [f"- {line}" for part in parts.values() for line in part["failures"]]
    missed = [f"- missed goal: {g['goal']}: {g['measured']}" for g in goals if g["met"] == "no"]
    for name, content in (
        ("session.json", json.dumps(results | {"goals": goals}, indent=1)),
        ("tables.md", "\n\n".join(text)),
        ("failures.md", "\n".join(failures + missed) or "Nothing failed."),
    ):
        part = out / f"{name}.part"
        part.write_text(content + "\n", encoding="utf-8")
        part.replace(out / name)


def parse(words: list[str]) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/gpu"), help="folder for the results (%(default)s)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART",
        help=f"parts to run: {', '.join(PARTS)}",
    )  # fmt: skip
    parser.add_argument(
        "--skip", nargs="+", choices=PARTS, default=[], metavar="PART", help="parts to skip"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=8,
        help="time limit for all parts together, in minutes (%(default)s)",
    )
    parser.add_argument(
        "--rehearse", action="store_true",
        help="run on the CPU, with emulated kernels and tiny sizes; ignore the figures",
    )  # fmt: skip
    parser.add_argument(
        "--list-wheels", action="store_true", help="list what the GPU machine needs, with sizes"
    )
    parser.add_argument(
        "--pack",
        action="store_true",
        help="download the wheels into build/gpu, then print the list",
    )
    return parser.parse_args(words)


def main() -> None:
    """Runs the session."""
    args = parse(sys.argv[1:])
    if args.list_wheels or args.pack:
        from wheels import pack  # needs packages that a bare machine may lack

        pack(WHEELS, LIBRARY, fetch=args.pack)
        return
    with closing(Runner(args)) as session:
        if not run_all(session, [n for n in PARTS if n in args.only and n not in args.skip]):
            raise SystemExit(1)


def run_all(session: Runner, names: list[str]) -> bool:
    """Runs parts, reports after each one, and returns whether none has failed."""
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
    session.say(
        f"{time.monotonic() - session.begin:.0f} s in total; the results are in {session.out}"
    )
    return not any(part["failures"] for part in results["parts"].values())


if __name__ == "__main__":
    main()
