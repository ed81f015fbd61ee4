"""Reads pretrained weights of a frame encoder."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_utilities.core.imports import module_available
from torch import Tensor

from srulight.runtime.errors import InputError, listed
from srulight.video.frame_encoders.base import FrameEncoder

_SHOWN = 3
_HEAD = "fc."  # Prefix of the classifier in torchvision's files.
FRAME_ENCODER = "frame_encoder"
"""Name of the frame encoder in tasks, and so in their checkpoints."""


def load_frame_weights(encoder: FrameEncoder, path: str) -> None:
    """Replaces the weights of a frame encoder by those in a file, which never runs code.

    If the file was trained on three channels and the frame encoder reads gray frames, the weights
    of the channels are added up, which gives the features of a gray image in three channels. A
    classifier ``fc`` is ignored.

    Args:
        encoder: The frame encoder.
        path: Path of a ``.safetensors`` file, of a file of ``torch.save`` that contains a state
            dict, or of a checkpoint of srulight, whose frame encoder is taken.

    Raises:
        InputError: If the file cannot be read, or does not have the weights of this frame encoder.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no file {path}; correct --model.frame_weights")
    found = {
        name: weight
        for name, weight in _of_encoder(_read(path), path).items()
        if not name.startswith(_HEAD)
    }
    own = encoder.state_dict()
    for name, weight in found.items():
        if name in own and own[name].dim() == weight.dim() == 4:
            gray = own[name].size(1) == 1 and weight.size(1) == 3
            found[name] = weight.sum(1, keepdim=True) if gray else weight
    faults = {
        "lacks": [name for name in own if name not in found],
        "also has": [name for name in found if name not in own],
        "has other shapes for": [
            f"{name} ({tuple(found[name].shape)} instead of {tuple(weight.shape)})"
            for name, weight in own.items()
            if name in found and found[name].shape != weight.shape
        ],
    }
    said = [f"{verb} {listed(names, _SHOWN)}" for verb, names in faults.items() if names]
    if said:
        raise InputError(
            f"{path}: expected the {len(own)} weights of the {type(encoder).__name__}, got a file "
            f"that {' and '.join(said)}; set --model.frames to the frame encoder of the file"
        )
    if broken := [n for n, w in found.items() if w.is_floating_point() and not w.isfinite().all()]:
        raise InputError(
            f"{path}: expected finite weights, got others in {listed(broken, _SHOWN)}; use another "
            "file"
        )
    encoder.load_state_dict(found)


def _read(path: str) -> dict[str, Any]:
    read: Callable[[str], Any]
    if Path(path).suffix == ".safetensors":
        if not module_available("safetensors"):
            raise InputError(
                f"{path}: reading it needs safetensors; install it: pip install 'srulight[video]'"
            )
        from safetensors.torch import load_file

        read, kind = load_file, "a file of safetensors"
    else:
        read, kind = _read_torch, "a state dict of torch, or a checkpoint"
    try:
        found: Any = read(path)
    except Exception as error:  # both packages pass on all exceptions of their readers
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise InputError(
            f"{path}: expected {kind}, got another or a damaged file: {reason:.200}; use another "
            "file"
        ) from error
    if not isinstance(found, dict):
        raise InputError(
            f"{path}: expected {kind}, got data of type {type(found).__name__}; use another file"
        )
    return found


def _read_torch(path: str) -> Any:  # noqa: ANN401
    # Files of old versions of torch are no zip files, and cannot be mapped.
    return torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _of_encoder(found: dict[str, Any], path: str) -> dict[str, Tensor]:
    """Returns the weights of the frame encoder in a file, by their names within it."""
    stored = found.get("state_dict")
    if isinstance(stored, dict):
        prefix = f"{FRAME_ENCODER}."
        found = {
            name.removeprefix(prefix): weight
            for name, weight in stored.items()
            if isinstance(name, str) and name.startswith(prefix)
        }
        if not found:
            raise InputError(
                f"{path}: expected a checkpoint of a model with a frame encoder, got another; pass "
                "one of VideoPrediction or PoseEstimation"
            )
    for name, weight in found.items():
        if not isinstance(name, str) or not isinstance(weight, Tensor):
            raise InputError(
                f"{path}: expected a tensor by the name of each weight, got "
                f"{type(weight).__name__} for {name!r:.60}; use a file with a state dict"
            )
        if weight.layout is not torch.strided:
            raise InputError(f"{path}: expected dense weights, got {weight.layout} for {name:.60}")
    return found
