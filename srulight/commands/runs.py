"""Finding the checkpoints of earlier runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from srulight.checkpoint import describe, read, restore
from srulight.commands.configurations import read_config
from srulight.runtime.errors import InputError
from srulight.tasks.base import Task

RUNS = "runs"
"""Folder of all runs, unless a configuration says otherwise."""

ROOT_DIR = "trainer.default_root_dir"
"""The setting that says otherwise."""


LAST = ("last.ckpt", "previous.ckpt")


@dataclass(frozen=True)
class Resumed:
    """A checkpoint that a run goes on from.

    Attributes:
        path: The file.
        stored: What it holds.
    """

    path: Path
    stored: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The run's own, with its log."""
        return self.path.parent.parent

    @property
    def is_last(self) -> bool:
        """Whether the run was never further than this."""
        return self.path.name in LAST

    def is_run_of(self, root: str) -> bool:
        """Tells whether the run is one of those that are kept below a folder.

        Args:
            root: The folder.
        """
        in_place = self.path.parent.name == "checkpoints"
        return in_place and self.folder.absolute().parent == Path(root).absolute()


def files_first(args: Sequence[str]) -> list[str]:
    """Moves ``--config`` options before the others, so that what is said by hand wins over files.

    Args:
        args: Arguments of a command.
    """
    files: list[str] = []
    others: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg in ("-c", "--config"):
            files += [arg, *islice(rest, 1)]
        elif arg.startswith("--config="):
            files.append(arg)
        else:
            others.append(arg)
    return files + others


def with_packaged_configs(args: Sequence[str]) -> list[str]:
    """Points ``configs/...`` to the files that come with the package where there is no such file.

    They are inside the package where it is installed, and beside it in a clone.

    Args:
        args: Arguments of a command.
    """
    package = Path(__file__).parents[1]

    def resolve(arg: str) -> str:
        option, equals, value = arg.rpartition("=")
        if value.startswith("configs/") and not Path(value).exists():
            for place in (package, package.parent):
                if (place / value).is_file():
                    return f"{option}{equals}{place / value}"
        return arg

    return [resolve(arg) for arg in args]


def find_checkpoint(name: str, args: Sequence[str] = ()) -> Path:
    """Finds the checkpoint that a user means.

    Args:
        name: A path; or "last" or "best", which mean that of the newest run.
        args: The other arguments, which tell where runs are kept: ``--trainer.default_root_dir``,
            itself or in a ``--config`` file.

    Raises:
        InputError: If there is none.
    """
    if name not in ("last", "best"):
        if not Path(name).is_file():
            raise InputError(f"there is no checkpoint {name}")
        return Path(name)
    root = Path(peek(args, ROOT_DIR) or RUNS)
    names = LAST if name == "last" else (f"{name}.ckpt",)
    found = _newest_first(path for n in names for path in root.rglob(f"checkpoints/{n}"))
    if not found:
        raise InputError(
            f"there is no {name}.ckpt below {root}: train first, or give --ckpt_path a file"
        )
    return found[0]


def find_resumable(args: Sequence[str] = ()) -> Resumed | None:
    """Finds the newest whole checkpoint of the runs in one folder; says what it finds.

    Args:
        args: The arguments, which tell where runs are kept.

    Returns:
        None if there is none, and a run is to begin.
    """
    root = Path(peek(args, ROOT_DIR) or RUNS)
    names = (path for name in LAST for path in root.glob(f"*/checkpoints/{name}"))
    for path in _newest_first(names):
        try:
            resumed = Resumed(path, read(path))
        except InputError as error:
            rank_zero_info(str(error))
            continue
        rank_zero_info(f"going on from {path}, after step {resumed.stored['global_step']}")
        return resumed
    rank_zero_info(f"no checkpoint to go on from in {root}: a new run")
    return None


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    """Sorts by run, the one that was written to latest first; of each, last.ckpt comes first.

    A clock that was set back says nothing of one run: there last.ckpt is always the later one.
    """
    times = {path: path.stat().st_mtime for path in paths}
    runs: dict[Path, float] = {}
    for path, time in times.items():
        runs[path.parent] = max(time, runs.get(path.parent, time))
    return sorted(times, key=lambda p: (-runs[p.parent], p.parent, p.name != LAST[0]))


def open_task(name: str, device: str) -> Task:
    """Makes the task of a checkpoint, and says which one it is.

    Args:
        name: As for :func:`find_checkpoint`.
        device: Where to compute: cpu, cuda, cuda:1.
    """
    path = find_checkpoint(name)
    checkpoint = read(path)
    rank_zero_info(describe(path, checkpoint))
    return restore(path, checkpoint, device)


def peek(args: Sequence[str], name: str) -> str | None:
    """Reads an option from arguments that are not parsed yet; the last one counts.

    Args:
        args: The arguments; ``--config`` files are looked into.
        name: Name of the option, with dots between its parts.
    """
    found = None
    for i, arg in enumerate(args):
        option, given, value = arg.partition("=")
        value = value if given else next(iter(args[i + 1 :]), "")
        if option == f"--{name}":
            found = value
        elif option in ("-c", "--config") and Path(value).is_file():
            config = read_config(value)
            for part in name.split("."):
                config = config.get(part) if isinstance(config, dict) else None
            found = found if config is None else str(config)
    return found
