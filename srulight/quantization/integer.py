"""The integer arithmetic: rounding numbers to 8 bits, and products of what results.

A weight is rounded to -127 to 127, with one scale per row. An activation x is rounded to an
unsigned integer q, which stands for x = step * (q - zero).
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

HIGHEST = 127
"""Largest absolute value of a weight."""

_BLOCK = 1 << 17  # numbers to round at a time
_SIZES = ((1, 64, 48), (32, 64, 48))  # M, F and N of the products that are tried out


class Rounded(NamedTuple):
    """Activations that are rounded to unsigned integers.

    Attributes:
        values: Integers q, (M, F) uint8.
        step: Difference between activations whose integers differ by 1: one for all, or one for
            each row, (M, 1) float32.
        zero: The integer that stands for 0.
    """

    values: Tensor
    step: float | Tensor
    zero: int


def round_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds a matrix to 8 bits, symmetrically, with one scale per row.

    Args:
        weight: Matrix, (N, F), of any floating-point type.

    Returns:
        Integers from -127 to 127, (N, F) int8, and the scale of each row, (N,) float32. A row is
        close to the product of both, within half a scale.
    """
    scale, divisor = row_scales(weight)
    values = (weight.detach().float() / divisor).round_().clamp_(-HIGHEST, HIGHEST)
    return values.to(torch.int8), scale


def row_scales(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the scale of each row of a matrix, with which its largest absolute value is 127.

    Args:
        weight: Matrix, (N, F), of any floating-point type.

    Returns:
        The scales, (N,) float32, and the same as divisors, (N, 1), with 1 in place of 0.
    """
    scale = weight.detach().float().abs().amax(1) / HIGHEST
    # A row of zeros, such as the embedding of the padding, has no scale.
    return scale, torch.where(scale > 0, scale, 1).unsqueeze(1)


def round_rows(x: Tensor) -> Rounded:
    """Rounds activations, each row relative to its own largest absolute value.

    No row affects another one, so the result for a sequence does not depend on its batch.

    Args:
        x: Activations, (M, F) float32.
    """
    top = levels()
    values = torch.empty(x.shape, dtype=torch.uint8)
    steps = torch.empty(len(x), 1)
    for rows in _blocks(x):
        step = steps[rows].copy_(x[rows].abs().amax(1, keepdim=True))
        step.clamp_min_(torch.finfo(x.dtype).tiny).div_(top)
        values[rows] = torch.div(x[rows], step).round_().add_(top + 1)
    return Rounded(values, steps, top + 1)


def round_to_range(x: Tensor, low: float, high: float) -> Rounded:
    """Rounds activations relative to a range; those outside become its ends.

    Args:
        x: Activations, (M, F) float32.
        low: Low end of the range, at most 0.
        high: High end of the range, at least 0 and above ``low``.
    """
    top = 2 * levels() + 1
    step = (high - low) / top
    zero = round(-low / step)
    values = torch.empty(x.shape, dtype=torch.uint8)
    for rows in _blocks(x):
        values[rows] = torch.mul(x[rows], 1 / step).round_().add_(zero).clamp_(0, top)
    return Rounded(values, step, zero)


def _blocks(x: Tensor) -> Iterator[slice]:
    """Divides rows into blocks whose intermediate results stay in the cache of a core."""
    size = max(1, _BLOCK // x.size(1))
    return (slice(first, first + size) for first in range(0, len(x), size))


def packed(weight: Tensor) -> Tensor:
    """Reorders the integers of a matrix, (N, F) int8, for ``multiply``."""
    found: Tensor = torch.ops.onednn.qlinear_prepack.default(weight, None)
    return found


def multiply(x: Rounded, weight: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiplies activations by the transpose of a matrix, with oneDNN.

    Integers are multiplied and summed exactly; the sums are then scaled in float32.

    Args:
        x: Rounded activations, (M, F).
        weight: Matrix, (N, F), as ``packed`` returns it.
        scale: Scale of each of its rows, (N,) float32.
        bias: Numbers to add to each row of the product, (N,) float32.

    Returns:
        The product, (M, N) float32.
    """
    common = isinstance(x.step, float)
    y: Tensor = torch.ops.onednn.qlinear_pointwise.default(
        x.values, x.step if common else 1.0, x.zero, weight, scale, _zeros(len(scale)),
        bias if common else None, 1.0, 0, torch.float32, "none", [], "",
    )  # fmt: skip
    if common:
        return y
    y.mul_(x.step)
    return y if bias is None else y.add_(bias)


@cache
def levels() -> int:
    """Returns the largest absolute integer of a symmetric activation on this processor.

    Processors without instructions for 8-bit dot products (VNNI) add pairs of products in 16 bits.
    With 8-bit activations, such a sum overflows without an error, and with 7-bit activations it
    cannot. One product tells which kind of processor this is.

    Returns:
        127 for 8 bits, 63 for 7 bits, and 0 if there is no integer product.
    """
    for top in (127, 63):
        try:
            if all(_is_exact(top, *sizes) for sizes in _SIZES):
                return top
        except (AttributeError, NotImplementedError, RuntimeError):
            return 0
    return 0


def _is_exact(top: int, rows: int, features: int, outputs: int) -> bool:
    largest = torch.full((rows, features), 2 * top + 1, dtype=torch.uint8)
    weight = torch.full((outputs, features), HIGHEST, dtype=torch.int8)
    product = multiply(Rounded(largest, 1.0, 0), packed(weight), torch.ones(outputs))
    return bool((product == (2 * top + 1) * HIGHEST * features).all())


@cache
def _zeros(count: int) -> Tensor:
    """Returns the integers that stand for 0 in the rows of a weight, (N,) int64."""
    return torch.zeros(count, dtype=torch.int64)
