"""Checks the structure of plain data from a file before other code relies on it."""

from typing import Any

import torch
from torch import Tensor

from srulight.runtime.errors import InputError

_NUMBERS = (int, float, Tensor)


def require(value: Any, shape: Any, where: str) -> None:  # noqa: ANN401
    """Checks plain data against a description of their structure.

    Args:
        value: Data to check.
        shape: Expected structure: a type or a tuple of types, a list with the structure of every
            item, or a mapping with the structure of every entry. In a mapping, names with a
            question mark are optional, and ``*`` stands for any other name. Integers must be 0 or
            more.
        where: Name of the data, for error messages.

    Raises:
        InputError: If the data differ from the description.
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
        raise InputError(f"{where} must be of type {kinds}, got {type(value).__name__}")
    elif shape is int and value < 0:
        raise InputError(f"{where} must be at least 0, got {value}")
    elif isinstance(value, Tensor) and value.layout is not torch.strided:
        raise InputError(f"{where} must be a dense tensor, got {value.layout}")
    elif isinstance(value, Tensor) and value.numel() * value.element_size() > _size(value):
        raise InputError(f"{where} declares more numbers than the file contains")


def _size(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _require_names(value: dict[Any, Any], shape: dict[str, Any], where: str) -> None:
    for key in value:
        if not isinstance(key, str):
            raise InputError(f"{where} must have strings as keys, got {key!r:.60}")
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
    """Checks that a stored state has the structure of the state of an existing object.

    Args:
        stored: State from the file.
        own: State of the object. Where it has None, the stored state may have any value.
        where: Name of the state, for error messages.

    Raises:
        InputError: If an entry is missing or has another type, or if a tensor has another shape.
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
            raise InputError(
                f"{where} must have shape {tuple(own.shape)}, got {tuple(stored.shape)}"
            )
    elif isinstance(own, _NUMBERS):
        number = isinstance(stored, int | float) or (
            isinstance(stored, Tensor) and stored.numel() == 1
        )
        if not number or isinstance(stored, bool):
            raise InputError(f"{where} must be a number, got {type(stored).__name__}")
    elif isinstance(own, list | tuple):
        require(stored, (list, tuple), where)
        for i, item in enumerate(stored):
            require_like(item, own[0] if own else None, f"{where}[{i}]")
