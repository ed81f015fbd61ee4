"""Losses that several tasks share."""

import torch.nn.functional as F
from torch import Tensor

from srulight.data.base import IGNORED


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Sums the cross entropy over all examples, or over all steps.

    Computed in float32, or wider if the logits are.

    Args:
        logits: Unnormalised log-probabilities, (B, V) or (B, T, V).
        targets: Classes, (B,) or (B, T) int64; -100 where there is none.
        smoothing: Share of the probability that is spread over all classes, 0 to below 1.

    Returns:
        The sum in nats, and how many targets there are, int64. The number stays on the device: to
        look at it would be to wait for a GPU.
    """
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    total = F.cross_entropy(
        logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="sum",
        label_smoothing=smoothing,
    )  # fmt: skip
    return total, (targets != IGNORED).sum()
