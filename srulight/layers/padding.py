"""Padding of sequences to a common length."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def pad(sequences: Sequence[Tensor], like: Tensor | torch.device) -> tuple[Tensor, Tensor]:
    """Pads sequences with zeros on the right, to a common length.

    Args:
        sequences: Sequences of shape (T,) or (T, F).
        like: Device of the result. A tensor stands for its device, and floating-point sequences
            also take its dtype.

    Returns:
        Padded sequences, (B, T) or (B, T, F), and the length of each sequence, (B,) int64.
    """
    device = like.device if isinstance(like, Tensor) else like
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
    padded = pad_sequence(list(sequences), batch_first=True).to(device)
    if isinstance(like, Tensor) and padded.is_floating_point():
        padded = padded.to(like)
    return padded, lengths
