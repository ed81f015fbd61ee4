"""What a checkpoint says about its quantization, and the check of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from srulight.ops.codebook import ENTRIES
from srulight.ops.fixed_point import LEAST_BITS, LIMIT, MOST_BITS
from srulight.quantization.codebook_matrix import blank
from srulight.quantization.int8_matrix import Int8Matrix
from srulight.quantization.matrix import QuantizedMatrix
from srulight.quantization.replace import replace
from srulight.runtime.errors import InputError

Activations = Literal["dynamic", "calibrated"]

BITS = (8, 4)
"""Bits of a weight that this version of srulight can read."""


@dataclass(frozen=True)
class Settings:
    """How a checkpoint was quantized.

    Attributes:
        bits: Bits of a weight, 8 or 4.
        activations: Where the ranges of the activations come from: "dynamic" means from each row
            of activations, and "calibrated" from training data.
        activation_bits: Bits of an activation if a weight has 4 bits, 4 to 16; otherwise None.
    """

    bits: int
    activations: Activations
    activation_bits: int | None = None

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
        if bits not in BITS:
            raise InputError(
                f"{where}: expected weights of 8 or 4 bits, got {bits}; use the version of "
                "srulight that wrote the checkpoint"
            )
        if activations not in get_args(Activations):
            raise InputError(
                f"{where}: expected dynamic or calibrated activations, got {activations!r:.60}; "
                "quantize the original checkpoint again"
            )
        if bits != 4:
            return cls(bits, activations)
        found = stored.get("activation_bits", 0)
        if not LEAST_BITS <= found <= MOST_BITS:
            raise InputError(
                f"{where}: expected activations of {LEAST_BITS} to {MOST_BITS} bits, got {found}; "
                "quantize the original checkpoint again"
            )
        return cls(bits, activations, found)

    def stored(self) -> dict[str, Any]:
        """Returns the entry of a checkpoint, which ``of`` reads."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def with_floats(network: nn.Module) -> dict[str, Tensor]:
    """Returns weights in which floats take the place of quantized matrices.

    Args:
        network: A network with quantized matrices.
    """
    found: dict[str, Tensor] = dict(network.state_dict())
    for name, matrix in network.named_modules(remove_duplicate=False):
        if isinstance(matrix, QuantizedMatrix):
            for part in matrix.state_dict():
                del found[f"{name}.{part}"]
            found[name] = matrix.dense()
    return found


def restore_structure(
    network: nn.Module, weights: Mapping[str, Tensor], settings: Settings
) -> None:
    """Gives a network the quantized matrices that a checkpoint contains, still without values.

    Args:
        network: The network, as it is before quantization.
        weights: Weights in the checkpoint, by name. They are not trusted.
        settings: How the checkpoint was quantized.

    Raises:
        InputError: If a quantized matrix in the checkpoint is not as ``quantize`` makes it.
    """

    def make(name: str, matrix: Tensor) -> QuantizedMatrix | None:
        scale = weights.get(f"{name}.scale")
        if settings.activation_bits is not None:
            codes = [weights.get(f"{name}.{part}") for part in ("indices", "codebook", "fraction")]
            indices, codebook, fraction = codes
            if indices is None or codebook is None or scale is None:
                return None
            _check_scale(name, scale)
            _check_codes(name, matrix, indices, codebook, fraction)
            found = len(codebook), settings.activation_bits, fraction is not None
            return blank(matrix, *found)
        values, limits = weights.get(f"{name}.values"), weights.get(f"{name}.range")
        if values is None or scale is None:
            return None
        _check_scale(name, scale)
        _check_integers(name, values, limits)
        return Int8Matrix(
            torch.zeros_like(matrix, dtype=torch.int8),
            torch.zeros(len(matrix), device=matrix.device),
            None if limits is None else torch.zeros(2, device=matrix.device),
        )

    replace(network, make)


def _check_scale(name: str, scale: Tensor) -> None:
    """Raises InputError for scales that would give nonsense, or no numbers at all."""
    if scale.dtype != torch.float32:
        raise InputError(_wrong(f"{name}.scale", "float32", scale.dtype))
    if not (scale.isfinite() & (scale >= 0)).all():
        raise InputError(_wrong(f"{name}.scale", "finite numbers of at least 0", "others"))


def _check_integers(name: str, values: Tensor, limits: Tensor | None) -> None:
    """Raises InputError for 8-bit integers that ``quantize`` does not make."""
    if values.dtype != torch.int8:
        raise InputError(_wrong(f"{name}.values", "int8", values.dtype))
    if limits is None:
        return
    if limits.dtype != torch.float32:
        raise InputError(_wrong(f"{name}.range", "float32", limits.dtype))
    found = limits.tolist()
    if not (limits.isfinite().all() and limits.shape == (2,) and found[0] <= 0 <= found[1]):
        raise InputError(_wrong(f"{name}.range", "two numbers around 0", f"{found!s:.60}"))
    if found[0] == found[1]:
        raise InputError(_wrong(f"{name}.range", "two different numbers", found))


def _check_codes(
    name: str, matrix: Tensor, indices: Tensor, codebook: Tensor, fraction: Tensor | None
) -> None:
    """Raises InputError for 4-bit indices that ``quantize`` does not make for a matrix."""
    rows, features = matrix.shape
    for part, tensor, dtype in (
        ("indices", indices, torch.uint8),
        ("codebook", codebook, torch.int8),
        ("fraction", fraction, torch.int64),
    ):
        if tensor is not None and tensor.dtype != dtype:
            expected = str(dtype).removeprefix("torch.")
            raise InputError(_wrong(f"{name}.{part}", expected, tensor.dtype))
    shape = (rows, (features + 1) // 2)
    if indices.shape != shape:
        raise InputError(_wrong(f"{name}.indices", f"the shape {shape}", tuple(indices.shape)))
    if codebook.dim() != 2 or codebook.size(1) != ENTRIES or not 1 <= len(codebook) <= rows:
        expected = f"1 to {rows} rows of {ENTRIES} integers"
        raise InputError(_wrong(f"{name}.codebook", expected, f"shape {tuple(codebook.shape)}"))
    if fraction is not None and (fraction.dim() or abs(int(fraction)) > LIMIT):
        expected = f"an integer from -{LIMIT} to {LIMIT}"
        raise InputError(_wrong(f"{name}.fraction", expected, f"{fraction.tolist()!s:.60}"))


def _wrong(name: str, expected: str, got: object) -> str:
    return (
        f"{name} of the checkpoint: expected {expected}, got {got}; quantize the original "
        "checkpoint again"
    )
