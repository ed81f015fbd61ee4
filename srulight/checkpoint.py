"""Loads a trained task from its checkpoint alone."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError
from lightning.pytorch.cli import instantiate_module

from srulight.export.settings import read_export
from srulight.hub.download import local
from srulight.plugins import load_plugins, trusted_modules
from srulight.runtime.devices import get_device
from srulight.runtime.errors import InputError
from srulight.runtime.fields import known
from srulight.runtime.structure import require
from srulight.runtime.terminal import decimal, printable
from srulight.runtime.trust import Vetting
from srulight.tasks.base import Task
from srulight.training.resume.checkpoint_format import (
    DROPPED,
    METADATA,
    QUANTIZATION,
    TASK,
    require_checkpoint,
)


def read(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint without running any code that it may contain.

    Args:
        path: Path of the checkpoint, or of a folder that ``export`` or ``push`` wrote.

    Returns:
        The contents of the checkpoint. Those of a folder lack the state of the training.

    Raises:
        InputError: If there is no such file, or it is damaged or not a checkpoint of srulight.
    """
    if Path(path).is_dir():
        return read_export(Path(path))
    if not Path(path).is_file():
        raise InputError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # torch itself does not verify checksums
        if damaged is not None:
            raise zipfile.BadZipFile(f"its part {damaged} is damaged")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch passes on all exceptions of its unpickler and zip reader
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise InputError(
            f"{path} is damaged or not a checkpoint: {reason}{_previous(Path(path))}"
        ) from error
    if not isinstance(checkpoint, dict) or METADATA not in checkpoint:
        raise InputError(f"{path}: expected a checkpoint of srulight, got another file of torch")
    require(checkpoint, {METADATA: dict, "global_step": int}, str(path))
    return checkpoint


def _previous(path: Path) -> str:
    """Suggests the previous checkpoint in place of a damaged last one, if it is intact."""
    previous = path.with_name("previous.ckpt")
    if path.name != "last.ckpt":
        return ""
    try:
        step = read(previous)["global_step"]
    except InputError:
        return ""
    return f"; use the previous checkpoint, of step {step}: --ckpt_path={previous}"


def describe(path: str | Path, checkpoint: dict[str, Any]) -> str:
    """Describes a checkpoint in a line: its task, encoder, best score and step.

    Args:
        path: Path of the checkpoint.
        checkpoint: Contents of the checkpoint.

    Raises:
        InputError: If the contents do not have the structure of a checkpoint.
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
            name = monitor if is_best else f"best {monitor} so far"
            said += f", {name} {decimal(score.item())}"
    said += f", step {checkpoint['global_step']}"
    if QUANTIZATION in checkpoint:
        said += f", quantized to {checkpoint[QUANTIZATION]['bits']} bits"
    return printable(said)


def load(
    path: str | Path,
    device: str | torch.device = "cpu",
    *,
    revision: str | None = None,
    **code: Any,  # noqa: ANN401
) -> Task:
    """Loads a trained task, ready to predict, without its data and its configuration.

    Loading a checkpoint never runs code from it and never imports what it names. It can only name
    classes that are already imported, or that a plug-in provides, and only where a setting expects
    a class of that kind.

    Args:
        path: Path of the checkpoint, such as ``best.ckpt`` or ``last.ckpt``, or of a folder that
            the command ``export`` or ``push`` wrote; or the name of a model on the Hugging Face
            hub, ``owner/name``. If both exist, the path counts; ``hf://owner/name`` is never a
            path. Without a connection, the hub's cache answers.
        device: Device for the weights, such as "cpu" or "cuda".
        revision: Branch, tag or commit of a model on the hub.
        **code: Arguments of the task that were passed as code in training, such as
            ``encoder=lambda size: ...``. No file can contain them.

    Returns:
        The task, in evaluation mode.

    Raises:
        InputError: If the device is not available, the file is not a checkpoint of srulight or
            names a class that it must not name, an argument that was passed as code is missing, or
            the hub has no such model.
    """
    path = local(path, revision)
    return restore(path, read(path), device, **code)


def restore(
    path: str | Path,
    checkpoint: dict[str, Any],
    device: str | torch.device = "cpu",
    **code: Any,  # noqa: ANN401
) -> Task:
    """Builds the task of a checkpoint that has been read, as ``load`` does.

    Args:
        path: Path of the checkpoint, for error messages.
        checkpoint: Contents of the checkpoint, as ``read`` returned them.
        device: As for ``load``.
        **code: As for ``load``.

    Returns:
        The task, in evaluation mode.

    Raises:
        InputError: As for ``load``.
    """
    require_checkpoint(checkpoint, str(path))
    return rebuild(path, checkpoint, device, **code)


def rebuild(
    path: str | Path,
    checkpoint: dict[str, Any],
    device: str | torch.device = "cpu",
    **code: Any,  # noqa: ANN401
) -> Task:
    """Builds a task from the parts of a checkpoint that do not concern its training.

    Args:
        path: Path of the checkpoint or of the export, for error messages.
        checkpoint: What ``srulight.export.settings.read_export`` returns, or a whole checkpoint.
        device: As for ``load``.
        **code: As for ``load``.

    Returns:
        The task, in evaluation mode.

    Raises:
        InputError: As for ``load``.
    """
    device = get_device(device)
    load_plugins()
    missing = [name for name in checkpoint[DROPPED] if name not in code]
    if missing:
        raise InputError(
            f"{path}: the training script passed {' and '.join(missing)} as code, which no "
            f"checkpoint can contain; load it with srulight.load(path, {missing[0]}=...)"
        )
    cls = known(checkpoint[TASK], (Task,))
    if cls is None:
        raise InputError(
            f"{path}: the task {checkpoint[TASK]:.80} is not imported; import its module, or add "
            "the module to SRULIGHT_PLUGINS"
        )
    vetting = Vetting(path, trusted_modules())
    settings = vetting.arguments(checkpoint["hyper_parameters"], cls, "hyper_parameters")
    try:
        task: Task = instantiate_module(cls, {**settings, **code})
    except (ArgumentError, ValueError) as error:
        reason = " ".join(str(error).replace("module.", "").split())
        raise InputError(f"{path}: the task cannot be built from its settings: {reason}") from error
    task.on_load_checkpoint(checkpoint)
    task.load_state_dict(checkpoint["state_dict"])
    return task.to(device).eval()
