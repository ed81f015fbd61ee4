"""SRU of the published package ``sru``."""

import warnings

from torch import Tensor, nn

from srulight.bench.contenders import Layer
from srulight.bench.timing import Run

LONGEST = 256
"""Largest length to train with on a CPU, where its time grows with the square of the length."""


def _layer(size: int) -> nn.Module:
    with warnings.catch_warnings():
        # It compiles its kernels when it is first imported, in half a minute, and says so.
        warnings.simplefilter("ignore")
        import sru

    # It also says so whenever a layer runs with gradients on a CPU.
    warnings.filterwarnings("ignore", message="Running SRU on CPU with grad_enabled=True")
    found: nn.Module = sru.SRU(size, size, num_layers=1)
    return found


def _step(size: int, x: Tensor) -> Run:
    layer, first = _layer(size).to(x.device), x.transpose(0, 1)
    state: Tensor = layer(first)[1]
    return lambda: layer(first, state)


PUBLISHED = Layer(
    "published-SRU",
    "SRU of 2018 in the published package sru; the first use compiles its kernel",
    _layer,
    "TBF",
    step=_step,
    needs=("sru",),
    floor=("products", "copy"),
    dtypes=("float32",),
    compiles=False,
    longest=LONGEST,
)
"""``sru.SRU(d, d, num_layers=1)``, batch second."""
