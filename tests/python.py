"""Starts Python at once, for the tests of what needs a process of its own."""

import atexit
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired

from tests.documents import ROOT

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["lightning.pytorch.cli"])


def python(
    *args: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float = 600,
) -> CompletedProcess[str]:
    """Runs ``python *args`` as ``subprocess.run`` does, without the seconds that imports take.

    The process is forked from one that has imported torch and Lightning, but nothing of srulight.
    Of the environment variables that these and Python read when they start, only PYTHONPATH counts.
    There is no matplotlib, because drawing takes as long as a small training.

    Args:
        *args: ``-c CODE``, ``-m MODULE`` or a file, and its own arguments.
        cwd: Working directory; None for that of this process.
        env: Environment; None for that of this process.
        stdin: Text that it reads.
        timeout: Seconds after which it is killed.

    Raises:
        TimeoutExpired: If it is killed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "0").write_text(stdin)
        given = [str(arg) for arg in args]
        process = _CONTEXT.Process(
            target=_start, args=(given, cwd or Path.cwd(), dict(env or os.environ), folder)
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutExpired(given, timeout, *((folder / n).read_bytes() for n in "12"))
        out, err = ((folder / n).read_text(errors="replace") for n in "12")
        return CompletedProcess(given, process.exitcode, out, err)


def _start(args: list[str], cwd: Path, env: dict[str, str], folder: Path) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for stream in (0, 1, 2):
        os.dup2(os.open(folder / str(stream), os.O_RDWR | os.O_CREAT), stream)
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115  stays open until the process ends
    file = Path(args[0]).absolute()
    first = {"-c": "", "-m": str(cwd)}.get(args[0], str(file.parent))
    paths = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
    installed = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.path[:] = [first, *paths, *installed, str(ROOT)]
    sys.modules["matplotlib"] = None  # type: ignore[assignment]
    try:
        if args[0] == "-c":
            sys.argv = ["-c", *args[2:]]
            exec(compile(args[1], "<string>", "exec"), {"__name__": "__main__"})
        elif args[0] == "-m":
            sys.argv = args[1:]
            runpy.run_module(args[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = args
            runpy.run_path(str(file), run_name="__main__")
    finally:
        atexit._run_exitfuncs()
