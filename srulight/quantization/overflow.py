"""The range of fixed-point activations follows counts of overflows."""

import torch
from torch import Tensor

from srulight.ops.fixed_point import LIMIT, ends, row_fractions

SHARE = 1 / 1024
"""Share of the activations that may overflow."""


def overflows(x: Tensor, fraction: int, bits: int) -> int:
    """Counts the numbers that are outside the range of fixed point.

    Args:
        x: Numbers of any shape.
        fraction: Fraction length.
        bits: Bits of an integer, one of which is the sign.
    """
    low, high = ends(bits)
    integers = torch.round(x.detach().float() * 2.0**fraction)
    return int(((integers < low) | (integers > high)).sum())


def followed(x: Tensor, fraction: int | None, bits: int) -> int:
    """Adapts the fraction length of a layer to the activations of a batch.

    This is dynamic fixed point with adaptation on line, as in DNPU (Shin et al., ISSCC 2017). The
    rule, for a batch of n numbers, is:

    1. Without a fraction length, take the largest one with which no number overflows.
    2. If more than n / 1024 numbers overflow, decrease the fraction length by 1, which doubles the
       range.
    3. Otherwise, if at most n / 1024 numbers would overflow with a fraction length that is larger
       by 1, increase it by 1, which halves the step.

    One batch therefore changes the range by at most a factor of 2, and no range changes if
    activations stay the same.

    Args:
        x: Activations of any shape. Steps of padding are zeros, which never overflow.
        fraction: Fraction length so far; None before the first batch.
        bits: Bits of an integer, 4 to 16.

    Returns:
        The new fraction length, -100 to 100.
    """
    if fraction is None:
        return int(row_fractions(x.detach().float().reshape(1, -1), bits))
    most = x.numel() * SHARE
    if overflows(x, fraction, bits) > most:
        return max(fraction - 1, -LIMIT)
    if fraction < LIMIT and overflows(x, fraction + 1, bits) <= most:
        return fraction + 1
    return fraction
