"""Finding the checkpoints of earlier runs."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import yaml

from srulight.errors import InputError

RUNS = "runs"
"""Folder of all runs, unless a configuration says otherwise."""


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
    """Points ``configs/...`` to the files in the installed package where there is no such file.

    Args:
        args: Arguments of a command.
    """
    packaged = Path(__file__).parents[1]

    def resolve(arg: str) -> str:
        option, equals, value = arg.rpartition("=")
        here, there = Path(value), packaged / value
        if value.startswith("configs/") and not here.exists() and there.is_file():
            return f"{option}{equals}{there}"
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
    root = Path(_root(args) or RUNS)
    found = sorted(root.rglob(f"checkpoints/{name}.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise InputError(
            f"there is no {name}.ckpt below {root}: train first, or give --ckpt_path a file"
        )
    return found[-1]


def _root(args: Sequence[str]) -> str | None:
    """Reads where runs are kept from arguments that are not parsed yet; the last word wins."""
    root = None
    for i, arg in enumerate(args):
        option, given, value = arg.partition("=")
        value = value if given else next(iter(args[i + 1 :]), "")
        if option == "--trainer.default_root_dir":
            return value
        if option in ("-c", "--config") and Path(value).is_file():
            config = yaml.safe_load(Path(value).read_text())
            trainer = config.get("trainer") if isinstance(config, dict) else None
            root = (trainer or {}).get("default_root_dir", root)
    return root
