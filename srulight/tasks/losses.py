"""Loss functions that several tasks share."""

import torch.nn.functional as F
from torch import Tensor

from srulight.data.base import IGNORED


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Sums the cross-entropy over all examples, or over all steps.

    The sum is computed in float32, or in the type of the logits if that is wider.

    Args:
        logits: Unnormalized log-probabilities, (B, V) or (B, T, V).
        targets: Indices of the target classes, (B,) or (B, T) int64; -100 where there is no target.
        smoothing: Label smoothing: share of the probability that is spread evenly over all classes,
            from 0 to below 1.

    Returns:
        The sum in nats, and the number of targets, int64. The number stays on the device, because
        reading it would make the CPU wait for the GPU.
    """
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    total = F.cross_entropy(
        logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="sum",
        label_smoothing=smoothing,
    )  # fmt: skip
    return total, (targets != IGNORED).sum()
