"""Fixed-point numbers: integers that share a scale, which is a power of two.

A number x with the fraction length f is the integer q = round(x * 2^f), and stands for q * 2^-f. Of
the b bits of q, one is the sign. A larger f gives finer steps and a narrower range.
"""

import torch
from torch import Tensor

LEAST_BITS, MOST_BITS = 4, 16
"""Numbers of bits of an integer that srulight supports."""

LIMIT = 100
"""Largest absolute fraction length. Both 2^LIMIT and 2^-LIMIT are normal numbers in float32."""


def ends(bits: int) -> tuple[int, int]:
    """Returns the smallest and the largest integer of ``bits`` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def to_fixed_point(x: Tensor, fraction: int | None, bits: int) -> tuple[Tensor, Tensor]:
    """Rounds numbers to fixed point.

    Numbers halfway between two integers go to the even one, and those outside the range go to its
    end. All steps are exact in float32, so every implementation gives the same integers.

    Args:
        x: Numbers, (M, F) float32.
        fraction: Fraction length, -100 to 100. None means ``row_fractions``.
        bits: Bits of an integer, 4 to 16.

    Returns:
        The integers, (M, F) float32, and the value of 1 in each row, (M, 1) float32. The latter is
        NaN, and the integers are 0, where a row contains a NaN.
    """
    if fraction is None:
        exponents = row_fractions(x, bits)
    else:
        exponents = torch.full((len(x), 1), fraction, dtype=torch.int32, device=x.device)
    broken = x.isnan().any(1, keepdim=True)
    integers = torch.round(x * _power_of_two(exponents)).clamp(*ends(bits))
    step = _power_of_two(-exponents).masked_fill(broken, torch.nan)
    return integers.masked_fill(broken, 0), step


def row_fractions(x: Tensor, bits: int) -> Tensor:
    """Returns the largest fraction length of each row with which none of its numbers overflows.

    If the largest absolute value of the row is m * 2^e, where 1/2 <= m < 1, it is ``bits`` - 1 - e,
    but at most 100 and at least -100.

    Args:
        x: Numbers, (M, F) float32.
        bits: Bits of an integer, 4 to 16.

    Returns:
        Fraction lengths, (M, 1) int32. Rows of zeros, and rows with infinities or NaNs, have
        ``bits`` - 1.
    """
    largest = x.abs().amax(1, keepdim=True)
    largest = torch.where(largest.isfinite(), largest, 0)
    exponents = torch.frexp(largest).exponent
    return (bits - 1 - exponents).clamp(-LIMIT, LIMIT)


def _power_of_two(exponents: Tensor) -> Tensor:
    """Returns 2^e, exactly, which ``torch.ldexp`` does not promise; -126 <= e <= 127."""
    return ((exponents + 127) << 23).view(torch.float32)
