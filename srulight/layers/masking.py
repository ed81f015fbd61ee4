"""Masks derived from lengths. True always marks a real step."""

import torch
from torch import Tensor


def valid_steps(lengths: Tensor, steps: int) -> Tensor:
    """Marks the real steps of a padded batch.

    Args:
        lengths: Number of real steps in each sequence, (B,) int64.
        steps: Padded length, T.

    Returns:
        True for real steps, False for padding, (B, T) bool.
    """
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(-1)


def zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Sets padded steps to zero.

    Args:
        x: Steps, (B, T, F).
        lengths: Number of real steps in each sequence, (B,) int64.

    Returns:
        The steps, (B, T, F), with zeros as padding.
    """
    return x * valid_steps(lengths, x.size(1)).unsqueeze(-1)


def masked_mean(x: Tensor, lengths: Tensor) -> Tensor:
    """Averages over the real steps of each sequence.

    Args:
        x: Steps, (B, T, H). Padded steps must be zeros, as encoders return them.
        lengths: Number of real steps in each sequence, (B,) int64, at least 1.

    Returns:
        Means, (B, H).
    """
    return x.sum(dim=1) / lengths.unsqueeze(-1)


def masked_max(x: Tensor, lengths: Tensor) -> Tensor:
    """Takes the maximum of each feature over the real steps of each sequence.

    Args:
        x: Steps, (B, T, H).
        lengths: Number of real steps in each sequence, (B,) int64, at least 1.

    Returns:
        Maxima, (B, H).
    """
    valid = valid_steps(lengths, x.size(1)).unsqueeze(-1)
    return x.masked_fill(~valid, float("-inf")).amax(dim=1)


def last_step(x: Tensor, lengths: Tensor, bidirectional: bool = False) -> Tensor:
    """Takes the step at which each direction has read the whole sequence.

    Args:
        x: Steps, (B, T, H).
        lengths: Number of real steps in each sequence, (B,) int64, at least 1.
        bidirectional: Whether the second half of the features was read right to left.

    Returns:
        Features of the last real step, (B, H). If ``bidirectional``, the second half is taken from
        the first step.
    """
    last = x[torch.arange(x.size(0), device=x.device), lengths - 1]
    if not bidirectional:
        return last
    half = x.size(2) // 2
    return torch.cat((last[:, :half], x[:, 0, half:]), dim=1)
