"""Loading a trained task from its checkpoint alone."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from srulight.errors import InputError
from srulight.plugins import load_plugins
from srulight.tasks.base import DROPPED, METADATA, TASK, Task

CONFIG = "config"
"""Where a checkpoint of the command line keeps its whole configuration."""


def read(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint without running any code it may hold.

    Args:
        path: The file.

    Raises:
        InputError: If it is not a checkpoint of srulight.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # torch itself looks at no checksum
        if damaged is not None:
            raise zipfile.BadZipFile(f"its part {damaged} is damaged")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises whatever its unpickler or zip reader does
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise InputError(
            f"{path} is not a checkpoint that loads safely: {reason}{_before(Path(path))}"
        ) from error
    if not isinstance(checkpoint, dict) or METADATA not in checkpoint:
        raise InputError(f"{path} is not a checkpoint of srulight")
    return checkpoint


def _before(path: Path) -> str:
    """Offers the checkpoint before a damaged last one, if it is whole."""
    before = path.with_name("previous.ckpt")
    if path.name != "last.ckpt":
        return ""
    try:
        step = read(before)["global_step"]
    except InputError:
        return ""
    return f"; the one before it is whole, of step {step}: use --ckpt_path={before}"


def describe(path: str | Path, checkpoint: dict[str, Any]) -> str:
    """Says in a line what a checkpoint is: its task, what encodes, and how good it was.

    Args:
        path: The file.
        checkpoint: What it holds.
    """
    said = f"{path}: {checkpoint[TASK].rpartition('.')[2]}"
    for name in ("encoder", "translator"):
        setting = checkpoint["hyper_parameters"].get(name)
        if isinstance(setting, dict):
            said += f" with {str(setting.get('class_path')).rpartition('.')[2]}"
    for state in checkpoint.get("callbacks", {}).values():
        score, monitor = state.get("best_model_score"), state.get("monitor")
        if isinstance(score, torch.Tensor) and score.numel() == 1:
            is_best = Path(str(state.get("best_model_path"))).name == Path(path).name
            said += f", {monitor if is_best else f'best {monitor} so far'} {score.item():.4f}"
    said += f", step {checkpoint['global_step']}"
    # A file must not steer the terminal.
    return "".join(sign if sign.isprintable() else "?" for sign in said)


def load(path: str | Path, device: str | torch.device = "cpu") -> Task:
    """Loads a trained task, ready to predict; neither data nor configuration are needed.

    Args:
        path: A checkpoint, ``best.ckpt`` or ``last.ckpt``.
        device: Where the weights go, "cpu" or "cuda".

    Raises:
        InputError: If the file is not a checkpoint of srulight, or holds a task that was made in
            Python with arguments that no file can hold.
    """
    load_plugins()
    checkpoint = read(path)
    dropped = checkpoint[DROPPED]
    if dropped:
        raise InputError(
            f"{path} was trained from Python with {' and '.join(dropped)} given as code, which no "
            f"checkpoint holds: use TheTask.load_from_checkpoint(path, {dropped[0]}=...)"
        )
    by_name = {f"{task.__module__}.{task.__qualname__}": task for task in _subclasses(Task)}  # type: ignore[type-abstract]
    if checkpoint[TASK] not in by_name:
        raise InputError(f"{path} holds a {checkpoint[TASK]}: import or install it first")
    task = by_name[checkpoint[TASK]].load_from_checkpoint(
        path, map_location=device, weights_only=True
    )
    return task.eval()


def _subclasses(cls: type[Task]) -> Iterator[type[Task]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)
