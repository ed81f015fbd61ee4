"""Matrix products, by the library that is faster for them on this processor."""

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor


@cache
def _onednn_is_faster() -> bool:
    """MKL, which torch takes for float32 on x86-64, is tuned for its maker's processors.

    On AMD's, oneDNN needs 5 to 15 % less time (``benchmarks/recurrence.py products``).
    """
    try:
        amd = "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return amd and torch.backends.mkldnn.is_available()


# Multiplications below which oneDNN takes longer to set up a product than it saves.
_SMALL = 10_000_000


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() * weight.size(0) > _SMALL
        and _onednn_is_faster()
        and bool(torch.backends.mkldnn.enabled)
    )


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Multiplies (..., F) by the transpose of a (N, F) weight; no gradients."""
    if _by_onednn(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return F.linear(x, weight)


def linear_plus(x: Tensor, weight: Tensor, other: Tensor) -> Tensor:
    """Adds :func:`linear` of (M, F) to ``other``, (M, N), which is lost; a sum costs a pass."""
    if _by_onednn(x, weight):
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, weight, None, "add")
    return other.addmm_(x, weight.t())
