"""Measures that torchmetrics does not have."""

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanLoss(Metric):
    """The mean of the losses of many tokens, however they are batched.

    torchmetrics' own mean looks at every value to find nan, for which a GPU must be waited for, and
    drops the weights where it is told not to (1.9). Sums are in float64.
    """

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: Tensor) -> None:
        """Adds the losses of a batch.

        Args:
            total: Their sum.
            count: How many they are, int64.
        """
        # Not in place: with a model in half precision the sum begins as a zero in half precision.
        self.total = self.total + total.detach().double()
        self.count += count

    def compute(self) -> Tensor:
        """Gives their mean, float64."""
        return self.total / self.count
