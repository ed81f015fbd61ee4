"""Metrics that torchmetrics lacks."""

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanLoss(Metric):
    """The mean loss over examples or tokens, independent of how they are batched.

    Sums are kept in float64. The ``MeanMetric`` of torchmetrics (1.9) is unsuitable: it checks
    every value for nan, which makes the CPU wait for the GPU, and ignores the weights if this check
    is off.
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
            total: Sum of the losses.
            count: Number of losses, int64.
        """
        # Not in place: in a model of half precision, the initial zero has half precision, too.
        self.total = self.total + total.detach().double()
        self.count += count

    def compute(self) -> Tensor:
        """Returns the mean loss, float64."""
        return self.total / self.count
