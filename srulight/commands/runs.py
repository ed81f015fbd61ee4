"""Finding the checkpoints of earlier runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from srulight.checkpoint import describe, read, restore
from srulight.commands.configurations import read_config
from srulight.export.settings import MANIFEST
from srulight.hub.download import download
from srulight.hub.library import show_progress_on_terminals
from srulight.hub.names import hub_name
from srulight.runtime.errors import InputError
from srulight.tasks.base import Task

RUNS = "runs"
"""Default folder of all runs."""

ROOT_DIR = "trainer.default_root_dir"
"""Setting that overrides the default folder."""

LAST = ("last.ckpt", "previous.ckpt")
"""Names of the checkpoints to resume from, the newest first."""


@dataclass(frozen=True)
class Resumed:
    """A checkpoint that a run resumes from.

    Attributes:
        path: Path of the checkpoint.
        stored: Contents of the checkpoint.
    """

    path: Path
    stored: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder of the run, which contains its log."""
        return self.path.parent.parent

    @property
    def has_run(self) -> bool:
        """Whether the checkpoint lies where a run keeps its checkpoints, in ``folder``."""
        return self.path.parent.name == "checkpoints"

    @property
    def is_last(self) -> bool:
        """Whether this is the last checkpoint of the run, or the one before it."""
        return self.path.name in LAST

    def is_run_of(self, root: str) -> bool:
        """Returns whether the folder of the run is in a folder of runs.

        Args:
            root: Folder of runs.
        """
        return self.has_run and self.folder.absolute().parent == Path(root).absolute()


def files_first(args: Sequence[str]) -> list[str]:
    """Moves ``--config`` options first, so that the other options override the files.

    Args:
        args: Command-line arguments of a command.
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
    """Replaces paths ``configs/...`` that do not exist by those of the packaged configurations.

    The configurations are inside an installed package, and beside the package in a clone.

    Args:
        args: Command-line arguments of a command.
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


def find_checkpoint(name: str, args: Sequence[str] | None = None) -> Path:
    """Returns the path of the checkpoint that ``--ckpt_path`` names.

    Args:
        name: Path of a checkpoint, or of a folder that ``export`` or ``push`` wrote; "last" or
            "best" for that checkpoint of the newest run; or the name of a model on the hub.
        args: The other command-line arguments. ``--trainer.default_root_dir``, or a ``--config``
            file that sets it, names the folder of runs. None if the command has no such option.

    Raises:
        InputError: If there is no such checkpoint.
    """
    if name not in ("last", "best"):
        hub = hub_name(name)
        if hub is not None:
            show_progress_on_terminals()
            return download(hub)
        if not Path(name).is_file() and not (Path(name) / MANIFEST).is_file():
            raise InputError(
                f"there is no checkpoint {name}; pass an existing file, or --ckpt_path=best (or "
                "last) for that checkpoint of the newest run"
            )
        return Path(name)
    root = Path(peek(args or (), ROOT_DIR) or RUNS)
    names = LAST if name == "last" else (f"{name}.ckpt",)
    found = _newest_first(path for n in names for path in root.rglob(f"checkpoints/{n}"))
    if not found:
        elsewhere = "" if args is None else f" or --{ROOT_DIR}=FOLDER"
        raise InputError(
            f"there is no {name}.ckpt in {root}; train first, or pass --ckpt_path=FILE{elsewhere}"
        )
    return found[0]


def title_of(name: str, path: Path) -> str:
    """Returns a short name of a checkpoint, for files that are named after it.

    Args:
        name: As for ``find_checkpoint``.
        path: What ``find_checkpoint`` returned.
    """
    # The folder of a downloaded model has the name of a commit.
    hub = None if path.exists() and Path(name).exists() else hub_name(name)
    return path.stem if hub is None else hub.repo.rpartition("/")[2]


def find_resumable(args: Sequence[str] = ()) -> Resumed | None:
    """Finds the newest undamaged checkpoint of the runs in a folder.

    Prints a line for each damaged checkpoint, and another if there is no checkpoint to resume from.

    Args:
        args: Command-line arguments, which name the folder of runs.

    Returns:
        The checkpoint; None if there is none, so that a new run must start.
    """
    root = Path(peek(args, ROOT_DIR) or RUNS)
    names = (path for name in LAST for path in root.glob(f"*/checkpoints/{name}"))
    for path in _newest_first(names):
        try:
            return Resumed(path, read(path))
        except InputError as error:
            rank_zero_info(str(error))
    rank_zero_info(f"no checkpoint to resume from in {root}; starting a new run")
    return None


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    """Sorts checkpoints by run, the one with the newest checkpoint first.

    Within a run, last.ckpt always comes first, even if its modification time is older because the
    clock was set back.
    """
    times = {path: path.stat().st_mtime for path in paths}
    runs: dict[Path, float] = {}
    for path, time in times.items():
        runs[path.parent] = max(time, runs.get(path.parent, time))
    return sorted(times, key=lambda p: (-runs[p.parent], p.parent, p.name != LAST[0]))


def open_task(name: str, device: str) -> Task:
    """Loads the task of a checkpoint, and prints which checkpoint it is.

    Args:
        name: As for ``find_checkpoint``.
        device: Device to compute on, such as "cpu", "cuda" or "cuda:1".
    """
    path = find_checkpoint(name)
    checkpoint = read(path)
    rank_zero_info(f"loading {describe(path, checkpoint)}")
    return restore(path, checkpoint, device)


def peek(args: Sequence[str], name: str) -> str | None:
    """Returns the value of an option from unparsed arguments, or None; the last one counts.

    Args:
        args: Command-line arguments. The option may also be set in a ``--config`` file.
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
