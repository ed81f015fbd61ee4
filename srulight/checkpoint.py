"""Loading a trained task from its checkpoint alone."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError
from lightning.pytorch.cli import instantiate_module

from srulight.plugins import load_plugins, trusted_modules
from srulight.runtime.devices import get_device
from srulight.runtime.errors import InputError
from srulight.runtime.fields import known
from srulight.runtime.structure import require
from srulight.runtime.trust import Vetting
from srulight.tasks.base import Task
from srulight.training.resume.checkpoint_format import DROPPED, METADATA, TASK, require_checkpoint


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
    require(checkpoint, {METADATA: dict, "global_step": int}, str(path))
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

    Raises:
        InputError: If it is not built as a checkpoint is.
    """
    require_checkpoint(checkpoint, str(path))
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


def load(path: str | Path, device: str | torch.device = "cpu", **code: Any) -> Task:  # noqa: ANN401
    """Loads a trained task, ready to predict; neither data nor configuration are needed.

    Nothing that the file names is run or imported: it may name classes that are imported already,
    or offered by a plug-in, where they are of the kind that a setting is for.

    Args:
        path: A checkpoint, ``best.ckpt`` or ``last.ckpt``.
        device: Where the weights go, "cpu" or "cuda".
        **code: Arguments of the task that were given as code in training, which no file can hold:
            ``encoder=lambda size: ...``.

    Raises:
        InputError: If there is no such device, or the file is not a checkpoint of srulight, names
            what it must not, or lacks an argument that was given as code.
    """
    return restore(path, read(path), device, **code)


def restore(
    path: str | Path,
    checkpoint: dict[str, Any],
    device: str | torch.device = "cpu",
    **code: Any,  # noqa: ANN401
) -> Task:
    """Makes the task of a checkpoint that has been read; everything else is as in :func:`load`.

    Args:
        path: The file that it was read from, for messages.
        checkpoint: What :func:`read` returned.
        device: As in :func:`load`.
        **code: As in :func:`load`.

    Raises:
        InputError: As :func:`load`.
    """
    device = get_device(device)
    load_plugins()
    require_checkpoint(checkpoint, str(path))
    missing = [name for name in checkpoint[DROPPED] if name not in code]
    if missing:
        raise InputError(
            f"{path} was trained from Python with {' and '.join(missing)} given as code, which no "
            f"checkpoint holds: use srulight.load(path, {missing[0]}=...)"
        )
    cls = known(checkpoint[TASK], (Task,))
    if cls is None:
        raise InputError(
            f"{path} holds a {checkpoint[TASK]:.80}: import or install it first, or name "
            "its module in SRULIGHT_PLUGINS"
        )
    vetting = Vetting(path, trusted_modules())
    settings = vetting.arguments(checkpoint["hyper_parameters"], cls, "hyper_parameters")
    try:
        task: Task = instantiate_module(cls, {**settings, **code})
    except (ArgumentError, ValueError) as error:
        reason = " ".join(str(error).replace("module.", "").split())
        raise InputError(f"{path} holds settings that cannot be used: {reason}") from error
    task.on_load_checkpoint(checkpoint)
    task.load_state_dict(checkpoint["state_dict"])
    return task.to(device).eval()
