"""Dropout that is cheap on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Zeroes features at random while training, and scales the others by 1 / (1 - p).

    As nn.Dropout, which draws one number a feature: on a CPU that takes longer than an SRU over
    the same word vectors. Here 64 random bits serve four features; p is rounded to 1 / 65536.

    Args:
        p: Probability of zeroing a feature, 0 to 1.

    Raises:
        ValueError: If ``p`` is not within 0 to 1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout must be 0 to 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drops out.

        Args:
            x: Features, any shape.

        Returns:
            The same shape; ``x`` itself when not training.
        """
        threshold = round(self.p * _LEVELS)
        if not self.training or threshold == 0:
            return x
        if x.device.type != "cpu" or threshold == _LEVELS:
            return F.dropout(x, self.p)
        numbers = _bits((x.numel() + 3) // 4).view(torch.int16)  # -32768 to 32767, all alike
        numbers = numbers[: x.numel()].view(x.shape)
        kept = numbers >= threshold - _LEVELS // 2
        return x * kept * (_LEVELS / (_LEVELS - threshold))

    def extra_repr(self) -> str:
        return f"p={self.p}"


def _bits(count: int) -> Tensor:
    """Draws that many times 64 random bits, (count,) int64."""
    if torch.compiler.is_compiling():  # the same bits, which a compiler cannot draw in place
        return torch.randint(-(2**63), 2**63 - 1, (count,)) ^ -(2**63)
    return torch.empty(count, dtype=torch.int64).random_(-(2**63), None)
