"""An operator for whole stacks of LSTM or GRU layers, which only exported programs contain.

``torch.export`` would unroll PyTorch's layers into the number of steps of its example, and cannot
trace packed sequences.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

torch.library.define(
    "srulight::torch_recurrent",
    "(Tensor x, Tensor? lengths, Tensor h0, Tensor? c0, Tensor[] weights, int num_layers,"
    " bool bidirectional) -> (Tensor y, Tensor h, Tensor c)",
)


def _run(
    x: Tensor, lengths: Tensor | None, h0: Tensor, c0: Tensor | None, weights: list[Tensor],
    num_layers: int, bidirectional: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    rest = (weights, True, num_layers, 0.0, False, bidirectional)
    if lengths is None:
        if c0 is None:
            y, h = torch.gru(x, h0, *rest, True)
            return y, h, h.new_empty(0)
        return torch.lstm(x, (h0, c0), *rest, True)
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    data, sizes, order, back = packed
    assert order is not None
    assert back is not None
    h0 = h0.index_select(1, order)
    if c0 is None:
        y, h = torch.gru(data, sizes, h0, *rest)
        c = h.new_empty(0)
    else:
        y, h, c = torch.lstm(data, sizes, (h0, c0.index_select(1, order)), *rest)
        c = c.index_select(1, back)
    packed = PackedSequence(y, sizes, order, back)
    y, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.size(1))
    return y, h.index_select(1, back), c


def _fake(
    x: Tensor, _lengths: Tensor | None, h0: Tensor, c0: Tensor | None, _weights: list[Tensor],
    _num_layers: int, bidirectional: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    features = h0.size(2) * (2 if bidirectional else 1)
    c = h0.new_empty(0) if c0 is None else torch.empty_like(c0)
    return x.new_empty(x.size(0), x.size(1), features), torch.empty_like(h0), c


torch.library.impl("srulight::torch_recurrent", "CompositeExplicitAutograd", _run)
torch.library.register_fake("srulight::torch_recurrent", _fake)


def torch_recurrent(
    x: Tensor,
    lengths: Tensor | None,
    h0: Tensor,
    c0: Tensor | None,
    weights: Sequence[Tensor],
    num_layers: int,
    bidirectional: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs a stack of LSTM or GRU layers with biases, without dropout.

    Args:
        x: Steps, (B, T, F).
        lengths: Number of real steps in each sequence, (B,) int64, at least 1. None means T.
        h0: States h before the first step, (L * directions, B, H).
        c0: States c of an LSTM before the first step, (L * directions, B, H); None for a GRU.
        weights: Weights in the order of ``torch.nn.LSTM.all_weights``, flat.
        num_layers: Number of layers, L.
        bidirectional: Whether the layers read in both directions.

    Returns:
        Outputs, (B, T, directions * H), and the last states h and c; c is empty for a GRU.
    """
    return torch.ops.srulight.torch_recurrent.default(
        x, lengths, h0, c0, list(weights), num_layers, bidirectional
    )
