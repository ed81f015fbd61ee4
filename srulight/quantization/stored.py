"""What a checkpoint says about its quantization, and the check of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from srulight.quantization.matrix import QuantizedMatrix
from srulight.quantization.replace import replace
from srulight.runtime.errors import InputError

Activations = Literal["dynamic", "calibrated"]

BITS = 8
"""Bits of a weight that this version of srulight can read."""


@dataclass(frozen=True)
class Settings:
    """How a checkpoint was quantized.

    Attributes:
        bits: Bits of a weight.
        activations: Where the ranges of the activations come from: "dynamic" means from each row
            of activations, and "calibrated" from training data.
    """

    bits: int
    activations: Activations

    @classmethod
    def of(cls, stored: Mapping[str, Any], where: str = "the checkpoint") -> "Settings":
        """Reads the entry of a checkpoint, whose values have the right types.

        Args:
            stored: The entry.
            where: Path of the checkpoint, for error messages.

        Raises:
            InputError: If this version of srulight cannot read such a checkpoint.
        """
        bits, activations = stored["bits"], stored["activations"]
        if bits != BITS:
            raise InputError(
                f"{where}: expected weights of {BITS} bits, got {bits}; use the version of "
                "srulight that wrote the checkpoint"
            )
        if activations not in get_args(Activations):
            raise InputError(
                f"{where}: expected dynamic or calibrated activations, got {activations!r:.60}; "
                "quantize the original checkpoint again"
            )
        return cls(bits, activations)


def with_floats(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns weights in which floats take the place of quantized matrices.

    Args:
        weights: Weights of a quantized checkpoint, by name.
    """
    found = {}
    for name, tensor in weights.items():
        matrix, _, part = name.rpartition(".")
        if f"{matrix}.values" not in weights:
            found[name] = tensor
        elif part == "values":
            found[matrix] = tensor * weights[f"{matrix}.scale"].unsqueeze(1)
    return found


def restore_structure(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Gives a network the quantized matrices that a checkpoint contains, still without values.

    Args:
        network: The network, as it is before quantization.
        weights: Weights in the checkpoint, by name. They are not trusted.

    Raises:
        InputError: If a quantized matrix in the checkpoint is not as ``quantize`` makes it.
    """

    def make(name: str, matrix: Tensor) -> QuantizedMatrix | None:
        parts = [weights.get(f"{name}.{part}") for part in ("values", "scale", "range")]
        values, scale, limits = parts
        if values is None or scale is None:
            return None
        _check(name, values, scale, limits)
        return QuantizedMatrix(
            torch.zeros_like(matrix, dtype=torch.int8),
            torch.zeros(len(matrix), device=matrix.device),
            None if limits is None else torch.zeros(2, device=matrix.device),
        )

    replace(network, make)


def _check(name: str, values: Tensor, scale: Tensor, limits: Tensor | None) -> None:
    """Raises InputError for a matrix that would give nonsense, or none at all."""
    if values.dtype != torch.int8:
        raise InputError(_wrong(f"{name}.values", "int8", values.dtype))
    for part, tensor in (("scale", scale), ("range", limits)):
        if tensor is not None and tensor.dtype != torch.float32:
            raise InputError(_wrong(f"{name}.{part}", "float32", tensor.dtype))
    if not (scale.isfinite() & (scale >= 0)).all():
        raise InputError(_wrong(f"{name}.scale", "finite numbers of at least 0", "others"))
    if limits is not None:
        found = limits.tolist()
        if not (limits.isfinite().all() and limits.shape == (2,) and found[0] <= 0 <= found[1]):
            raise InputError(_wrong(f"{name}.range", "two numbers around 0", f"{found!s:.60}"))
        if found[0] == found[1]:
            raise InputError(_wrong(f"{name}.range", "two different numbers", found))


def _wrong(name: str, expected: str, got: object) -> str:
    return (
        f"{name} of the checkpoint: expected {expected}, got {got}; quantize the original "
        "checkpoint again"
    )
