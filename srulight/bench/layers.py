"""The contenders that need no other package: layers of srulight and of PyTorch."""

import torch.nn.functional as F
from torch import Tensor, nn

from srulight.bench.contenders import Contender, Layer, SkippedError
from srulight.bench.floors import Copy, Floor, Recurrence
from srulight.bench.timing import Run
from srulight.encoders import QRNN, SRU, Recurrent, SRUpp

EVERYTHING, BAND = 2**20, 256
"""Number of earlier steps that attention sees: practically all, or a band."""
MEMORY = 512
"""Number of earlier steps that a stream of SRU++ attends to."""
HEAD = 64
"""Features per attention head."""


class Attention(nn.Module):
    """Causal attention of a Transformer layer: both projections, and heads of 64 features.

    Args:
        size: Number of features of the input and of the output.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inward = nn.Linear(size, 3 * size, bias=False)
        self.outward = nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        heads = max(1, x.size(2) // HEAD)
        q, k, v = self.inward(x).unflatten(-1, (3, heads, -1)).transpose(1, 3).unbind(2)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, T, F)
        return self.outward(attended.transpose(1, 2).flatten(2))


def _bidirectional(size: int) -> nn.Module:
    half, odd = divmod(size, 2)
    if odd:
        raise SkippedError("needs an even width")
    return SRU(size, half, num_layers=1, bidirectional=True)


def _stream(layer: Recurrent, x: Tensor, before: int = 1) -> Run:
    """Creates the run of a step of an encoder that has seen some steps before."""
    layer = layer.to(x.device).eval()
    state = layer.forward_with_state(x.repeat(1, before, 1))[1]
    return lambda: layer.forward_with_state(x, state)


def _lstm_step(size: int, x: Tensor) -> Run:
    cell, row = nn.LSTMCell(size, size).to(x.device), x[:, 0]
    state = cell(row)
    return lambda: cell(row, state)


def _gru_step(size: int, x: Tensor) -> Run:
    cell, row = nn.GRUCell(size, size).to(x.device), x[:, 0]
    state = cell(row)
    return lambda: cell(row, state)


def _floor_step(own: bool, size: int, x: Tensor) -> Run:
    floor = Floor(size, own).to(x.device)
    return lambda: floor(x)


_FLOOR = ("products", "copy")

BUILT_IN: tuple[Contender, ...] = (
    Layer(
        "SRU", "SRU of 2018, with peephole connections: SRU(d, d, num_layers=1)",
        lambda d: SRU(d, d, num_layers=1), floor=_FLOOR, ours=True,
        step=lambda d, x: _stream(SRU(d, d, num_layers=1), x),
    ),
    Layer(
        "SRU-2017", "SRU of 2017: SRU(d, d, num_layers=1, peephole=False)",
        lambda d: SRU(d, d, num_layers=1, peephole=False), floor=_FLOOR, ours=True,
        step=lambda d, x: _stream(SRU(d, d, num_layers=1, peephole=False), x),
    ),
    Layer(
        "SRU-bidirectional", "SRU of 2018 in both directions, with half of the units in each",
        _bidirectional, floor=_FLOOR, ours=True,
    ),
    Layer(
        "SRU++", f"SRU++ that attends to all earlier steps; in a stream, to {MEMORY}",
        lambda d: SRUpp(d, d, num_layers=1, memory_size=EVERYTHING), ours=True,
        step=lambda d, x: _stream(SRUpp(d, d, num_layers=1, memory_size=MEMORY), x, MEMORY),
    ),
    Layer(
        "QRNN", "QRNN with a kernel of one step: QRNN(d, d, num_layers=1)",
        lambda d: QRNN(d, d, num_layers=1), ours=True,
        step=lambda d, x: _stream(QRNN(d, d, num_layers=1), x),
    ),
    Layer(
        "LSTM", "torch.nn.LSTM; in a stream, torch.nn.LSTMCell",
        lambda d: nn.LSTM(d, d, batch_first=True), step=_lstm_step,
    ),
    Layer(
        "GRU", "torch.nn.GRU; in a stream, torch.nn.GRUCell",
        lambda d: nn.GRU(d, d, batch_first=True), step=_gru_step,
    ),
    Layer(
        "Conv1d-k2", "torch.nn.Conv1d with a kernel of 2 steps",
        lambda d: nn.Conv1d(d, d, 2, padding=1), "BFT",
    ),
    Layer(
        "Conv1d-k3", "torch.nn.Conv1d with a kernel of 3 steps, as many products as SRU",
        lambda d: nn.Conv1d(d, d, 3, padding=1), "BFT", floor=("products",),
    ),
)  # fmt: skip
"""Layers that are measured unless others are asked for."""

BOUNDS: tuple[Contender, ...] = (
    Layer(
        "products", "the matrix products of SRU as srulight computes them",
        lambda d: Floor(d, own=True), ours=True, step=lambda d, x: _floor_step(True, d, x),
    ),
    Copy(),
)  # fmt: skip
"""Lower bounds, which are also measured whenever a contender is held against them."""

MORE: tuple[Contender, ...] = (
    Layer(
        "F.linear", "the matrix products of SRU as torch.nn.functional.linear computes them",
        lambda d: Floor(d, own=False), ours=True, step=lambda d, x: _floor_step(False, d, x),
    ),
    Recurrence(),
    Layer("attention", f"causal attention of a Transformer, heads of {HEAD} features", Attention),
    Layer(
        "SRU++-band", f"SRU++ that attends to {BAND} earlier steps",
        lambda d: SRUpp(d, d, num_layers=1, memory_size=BAND), ours=True,
    ),
)  # fmt: skip
"""Contenders that are measured on request."""

LAYERS = {one.name: one for one in (*BUILT_IN, *BOUNDS, *MORE) if isinstance(one, Layer)}
