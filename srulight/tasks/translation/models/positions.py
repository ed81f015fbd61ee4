"""Where a step is, as a vector."""

import math

import torch
from torch import Tensor


def sinusoidal_positions(x: Tensor, first: int = 0) -> Tensor:
    """Tells each step's place by sines and cosines of many wavelengths.

    Vaswani et al. (2017), Attention Is All You Need (arXiv 1706.03762), section 3.5: features 2i
    and 2i + 1 are sine and cosine of place / 10000^(2i / E).

    Args:
        x: Steps that the vectors will be added to, (B, T, E).
        first: Place of the first of them, 0 or more.

    Returns:
        Vectors, (T, E), in the dtype of ``x``.
    """
    size = x.size(-1)
    wide = torch.promote_types(x.dtype, torch.float32)
    places = torch.arange(first, first + x.size(1), dtype=wide, device=x.device)
    even = torch.arange(0, size, 2, dtype=wide, device=x.device)
    angles = places.unsqueeze(-1) * torch.exp(even * (-math.log(10_000) / size))
    # An odd E has one sine more than cosines.
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)[:, :size].to(x.dtype)
