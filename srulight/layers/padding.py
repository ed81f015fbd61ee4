"""Sequences of different lengths in one tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def pad(sequences: Sequence[Tensor], like: Tensor | torch.device) -> tuple[Tensor, Tensor]:
    """Pads sequences on the right with 0.

    Args:
        sequences: Steps of each, (T,) or (T, F).
        like: Device that they are moved to; or a tensor, whose dtype floats take, too.

    Returns:
        The padded sequences, (B, T) or (B, T, F), and the real steps of each, (B,) int64.
    """
    device = like.device if isinstance(like, Tensor) else like
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
    padded = pad_sequence(list(sequences), batch_first=True).to(device)
    if isinstance(like, Tensor) and padded.is_floating_point():
        padded = padded.to(like)
    return padded, lengths
