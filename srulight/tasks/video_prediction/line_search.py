"""Sums over the epochs in which a weak network is trained, from which its weight follows."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

STEPS = torch.cat((torch.zeros(1), 2 ** (torch.arange(21) / 2 - 5)))
"""Weights that a line search tries: 0, and the powers of the root of 2 from 1/32 to 32."""

_SMALLEST = 1e-12


class LineSearch(nn.Module):
    """Adds up the losses of the whole system for each weight that a network may get.

    Checkpoints contain the sums, so that a run resumes within the search.
    """

    losses: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("losses", torch.zeros(len(STEPS), dtype=torch.float64))

    def forward(self, loss: Callable[[float], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Adds the losses of a batch.

        Args:
            loss: Computes the sum of the losses, and their number, from the weight.

        Returns:
            Those of the weight 0.
        """
        found = [loss(step) for step in STEPS.tolist()]
        self.losses += torch.stack([total.double() for total, _ in found])
        return found[0]

    @property
    def best(self) -> float:
        """The weight with the lowest loss."""
        return float(STEPS[int(self.losses.argmin())])

    def reset(self) -> None:
        """Begins the next search."""
        self.losses.zero_()


class RunningScale(nn.Module):
    """The root mean square of all numbers so far."""

    squares: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("squares", torch.zeros((), dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, numbers: Tensor, count: Tensor) -> Tensor:
        """Adds numbers, and returns the root mean square, above 0.

        Args:
            numbers: Numbers of a batch; padding is 0.
            count: Number of them without padding.
        """
        self.squares += numbers.double().square().sum()
        self.count += count
        return (self.squares / self.count).sqrt().clamp_min(_SMALLEST).to(numbers)

    def reset(self) -> None:
        """Forgets all numbers."""
        self.squares.zero_()
        self.count.zero_()
