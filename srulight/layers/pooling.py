"""Pooling of the steps of a sequence into one vector."""

from typing import Literal

from torch import Tensor

from srulight.layers.masking import last_step, masked_max, masked_mean

Pooling = Literal["auto", "last", "mean", "max"]
"""How to pool: "last" takes the last step of each direction, "mean" and "max" reduce over all
steps, and "auto" means "last" for recurrent encoders and "max" for all others."""


def pool(encoded: Tensor, lengths: Tensor, how: Pooling, directions: int) -> Tensor:
    """Pools the output of an encoder.

    Args:
        encoded: Encoded steps, (B, T, H); padded steps are zeros.
        lengths: Number of real steps in each sequence, (B,) int64, at least 1.
        how: How to pool.
        directions: Number of directions that the encoder reads in: 1 or 2 for recurrent encoders,
            0 for all others.

    Returns:
        Features of each sequence, (B, H).
    """
    if how == "auto":
        how = "last" if directions else "max"
    if how == "mean":
        return masked_mean(encoded, lengths)
    if how == "max":
        return masked_max(encoded, lengths)
    return last_step(encoded, lengths, directions == 2)
