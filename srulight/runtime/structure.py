"""What a checkpoint must look like, so that what reads it meets what it expects."""

import re
from typing import Any

import torch
from torch import Tensor

from srulight.runtime.errors import InputError

_NUMBERS = (int, float, Tensor)

_COUNTS = {"ready": int, "completed": int, "started?": int, "processed?": int, "*": int}
_ALL_COUNTS = {"ready": int, "completed": int, "started": int, "processed": int, "*": int}
_PROGRESS = {"total": _COUNTS, "current": _COUNTS}
_BATCHES = {"total": _ALL_COUNTS, "current": _ALL_COUNTS, "is_last_batch": bool}
_MEASURING = {"state_dict": dict, "batch_progress": _BATCHES}
_CLASS = {"class_path": str, "init_args": {"*": object}}

# Lightning would bring an older one up to date, by rules for what it has no more.
_VERSION = re.compile(r"[2-9]\d*(\.\d+)+\w*")

_CHECKPOINT: dict[str, Any] = {
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "state_dict": {"*": Tensor},
    "hyper_parameters": {"*": object},
    "hyper_parameters_dropped": [str],
    "task": str,
    "metadata": {"*": object},
    "carried?": [(Tensor, type(None))],
    "train_loss?": [{"*": Tensor}],
    "random_states?": [{"cpu": Tensor, "cuda?": Tensor}],
    "place?": {"batches": int, "metrics": {"*": Tensor}, "rows?": int, "steps?": int},
    "callbacks?": {"*": {"*": object}},
    "optimizer_states?": [{"state": dict, "param_groups": [{"params": [int], "*": object}]}],
    "lr_schedulers?": [{"*": object}],
    "config?": {
        "seed_everything": (int, bool),
        "trainer": {"*": object},
        "model": _CLASS,
        "data": _CLASS,
    },
    "loops": {
        "fit_loop": {
            "state_dict": {"combined_loader?": [dict]},
            "epoch_loop.state_dict": {"_batches_that_stepped": int},
            "epoch_loop.batch_progress": _BATCHES,
            "epoch_loop.scheduler_progress": _PROGRESS,
            "epoch_loop.automatic_optimization.optim_progress": {
                "optimizer": {"step": _PROGRESS, "zero_grad": _PROGRESS}
            },
            "epoch_loop.manual_optimization.optim_step_progress": _PROGRESS,
            "epoch_loop.val_loop.batch_progress": _BATCHES,
            "epoch_progress": {"total": _ALL_COUNTS, "current": _ALL_COUNTS},
        },
        "validate_loop": _MEASURING,
        "test_loop": _MEASURING,
        "predict_loop": {"state_dict": dict, "batch_progress": _PROGRESS},
    },
}


def require_checkpoint(checkpoint: Any, where: str) -> None:  # noqa: ANN401
    """Raises InputError if what was read is not built as a checkpoint is."""
    require(checkpoint, _CHECKPOINT, where)
    version = checkpoint["pytorch-lightning_version"]
    if not _VERSION.fullmatch(version):
        raise InputError(f"{where}: {version!r:.60} is no version of Lightning from 2 on")


def require(value: Any, shape: Any, where: str) -> None:  # noqa: ANN401
    """Checks plain data against a shape.

    Args:
        value: The data.
        shape: A type, or several; a list of the shape of every item; or a mapping of names, those
            with a question mark may be missing, and ``*`` stands for any other. Whole numbers are
            0 or more.
        where: What the data are called.

    Raises:
        InputError: If they differ.
    """
    if isinstance(shape, list):
        require(value, list, where)
        for i, item in enumerate(value):
            require(item, shape[0], f"{where}[{i}]")
    elif isinstance(shape, dict):
        require(value, dict, where)
        _require_names(value, shape, where)
    elif not isinstance(value, shape) or (isinstance(value, bool) and shape is int):
        kinds = " or ".join(
            kind.__name__ for kind in (shape if isinstance(shape, tuple) else [shape])
        )
        raise InputError(f"{where} must be of type {kinds}, got a {type(value).__name__}")
    elif shape is int and value < 0:
        raise InputError(f"{where} must be at least 0, got {value}")
    elif isinstance(value, Tensor) and value.layout is not torch.strided:
        raise InputError(f"{where} must be a dense tensor, got {value.layout}")
    elif isinstance(value, Tensor) and value.numel() * value.element_size() > _size(value):
        raise InputError(f"{where} claims more numbers than the file holds")


def _size(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _require_names(value: dict[Any, Any], shape: dict[str, Any], where: str) -> None:
    for key in value:
        if not isinstance(key, str):
            raise InputError(f"{where} must have names, got {key!r:.60}")
        if key in shape or f"{key}?" in shape:
            continue
        if "*" in shape:
            require(value[key], shape["*"], f"{where}.{key:.60}")
    for name, inner in shape.items():
        if name == "*":
            continue
        key = name.removesuffix("?")
        if key in value:
            require(value[key], inner, f"{where}.{key}")
        elif key == name:
            raise InputError(f"{where} lacks {name}")


def require_like(stored: Any, own: Any, where: str) -> None:  # noqa: ANN401
    """Checks that a state that was stored is one of an object of the same kind.

    Args:
        stored: The state.
        own: The state of such an object; what it has None for may be anything.
        where: What the state is called.

    Raises:
        InputError: If a part is missing, or of another type; or a tensor has another shape.
    """
    if isinstance(own, dict):
        require(stored, dict, where)
        for name in own:
            if name not in stored:
                raise InputError(f"{where} lacks {name}")
            require_like(stored[name], own[name], f"{where}.{name}")
    elif isinstance(own, bool | str) or own is None:
        if own is not None:
            require(stored, type(own), where)
    elif isinstance(own, Tensor) and own.dim():
        require(stored, Tensor, where)
        if stored.shape != own.shape:
            raise InputError(f"{where} must be {tuple(own.shape)}, got {tuple(stored.shape)}")
    elif isinstance(own, _NUMBERS):
        number = isinstance(stored, int | float) or (
            isinstance(stored, Tensor) and stored.numel() == 1
        )
        if not number or isinstance(stored, bool):
            raise InputError(f"{where} must be a number, got a {type(stored).__name__}")
    elif isinstance(own, list | tuple):
        require(stored, (list, tuple), where)
        for i, item in enumerate(stored):
            require_like(item, own[0] if own else None, f"{where}[{i}]")
