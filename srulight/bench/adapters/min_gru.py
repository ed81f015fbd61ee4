"""The minimal GRU of the package ``minGRU-pytorch``."""

from torch import Tensor, nn

from srulight.bench.contenders import Layer
from srulight.bench.timing import Run


def _layer(size: int) -> nn.Module:
    from minGRU_pytorch import minGRU

    found: nn.Module = minGRU(size)
    return found


def _step(size: int, x: Tensor) -> Run:
    layer = _layer(size).to(x.device)
    state = layer(x, return_next_prev_hidden=True)[1]
    return lambda: layer(x, state, return_next_prev_hidden=True)


MIN_GRU = Layer(
    "minGRU",
    "minGRU of the package minGRU-pytorch, a parallel scan in PyTorch",
    _layer,
    step=_step,
    needs=("minGRU_pytorch",),
)
"""Feng et al. (2024), Were RNNs All We Needed? (arXiv 2410.01201)."""
