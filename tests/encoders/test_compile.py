"""Every encoder compiles to one graph for all sizes, except those named here."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import Unsupported
from torch._dynamo.utils import counters

from srulight import encoders
from srulight.encoders import (
    CNN,
    GRU,
    LSTM,
    QRNN,
    SRU,
    Encoder,
    EncoderFactory,
    Recurrent,
    ResidualCNN,
    SRUpp,
)

F = 8
EXPORTED = [
    c
    for c in vars(encoders).values()
    if inspect.isclass(c) and issubclass(c, Encoder) and not inspect.isabstract(c)
]
# Layers of torch that its compiler does not trace.
BROKEN: dict[str, EncoderFactory] = {
    f"{c.__name__}{' both ways' * both}": partial(c, bidirectional=both, dropout=0.3)
    for c in (LSTM, GRU)
    for both in (False, True)
}
WHOLE: dict[str, EncoderFactory] = {
    **{c.__name__: c for c in EXPORTED if c not in (LSTM, GRU)},
    "CNN": partial(CNN, channels=4, widths=(1, 3)),
    "QRNN": partial(QRNN, hidden_size=F, kernel_size=2, highway=True, dropout=0.3),
    "QRNN both ways": partial(QRNN, num_layers=1, bidirectional=True),
    "ResidualCNN": partial(ResidualCNN, channels=4, num_layers=2, kernel_size=3, dropout=0.3),
    "SRU": partial(SRU, dropout=0.3),
    "SRU both ways": partial(
        SRU, num_layers=1, bidirectional=True, input_dropout=0.3, layer_norm="post"
    ),
    "SRUpp": partial(SRUpp, memory_size=3, attention_every=2, attention_dropout=0.3),
    # Sequences are shorter than what the attention reaches, or longer.
    "SRUpp both ways": partial(
        SRUpp, memory_size=6, num_layers=1, num_heads=2, bidirectional=True, dropout=0.3
    ),
}
# Compiling takes seconds, so the fast tests try one encoder of each kind.
IN_A_HURRY = ("SRU", "LSTM")


def each(makers: dict[str, EncoderFactory]) -> pytest.MarkDecorator:
    cases = [
        pytest.param(make, id=name, marks=() if name in IN_A_HURRY else pytest.mark.slow)
        for name, make in makers.items()
    ]
    return pytest.mark.parametrize("make", cases)


whole, broken = each(WHOLE), each(BROKEN)


@pytest.fixture(autouse=True)
def _nothing_compiled_yet() -> None:
    torch.compiler.reset()
    counters.clear()


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def build(make: EncoderFactory) -> Encoder:
    encoder = make(F).double()
    for parameter in encoder.parameters():  # zeros hide what they multiply
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    return encoder


def compiled(
    function: Callable[..., Any], fullgraph: bool = True, backend: str = "aot_eager"
) -> Callable[..., Any]:
    return torch.compile(function, fullgraph=fullgraph, dynamic=True, backend=backend)


def results(
    encoder: Encoder, run: Callable[..., tuple[Tensor, ...]], *given: Tensor | None
) -> tuple[list[Tensor | None], ...]:
    """Returns the outputs and the gradients of the inputs and of the parameters."""
    encoder.zero_grad()
    torch.manual_seed(0)  # the same dropout masks
    leaves = [t.clone().requires_grad_(t.is_floating_point()) for t in given if t is not None]
    outputs = run(*leaves)
    torch.stack([y.square().mean() for y in outputs]).sum().backward()
    gradients = [t.grad for t in (*leaves, *encoder.parameters())]
    return [y.detach() for y in outputs], gradients


def compare(encoder: Encoder, other: Callable[..., Tensor]) -> None:
    """Compares a compiled ``forward`` with an uncompiled one, in several sizes."""
    for batch, steps in ((3, 5), (5, 9), (4, 7)):
        x = torch.randn(batch, steps, F, dtype=torch.float64)
        lengths = torch.tensor([steps, *range(1, batch)])
        got = results(encoder, lambda *given: (other(*given),), x, lengths)
        expected = results(encoder, lambda *given: (encoder(*given),), x, lengths)
        torch.testing.assert_close(got, expected)


def compare_resumed(encoder: Recurrent, other: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """Compares a compiled ``forward_with_state`` with an uncompiled one, in several sizes."""
    for batch, pieces in ((3, (5, 9, 7)), (5, (5, 6))):
        state = None
        for steps in pieces:
            x = torch.randn(batch, steps, F, dtype=torch.float64)
            got = results(encoder, other, x, state)
            expected = results(encoder, encoder.forward_with_state, x, state)
            torch.testing.assert_close(got, expected)
            state = expected[0][1]


@whole
def test_one_graph_encodes_batches_of_all_sizes(make: EncoderFactory) -> None:
    encoder = build(make)
    compare(encoder, compiled(encoder.forward))
    assert graphs() == 1


@whole
def test_one_graph_begins_and_one_goes_on(make: EncoderFactory) -> None:
    encoder = build(make)
    if not isinstance(encoder, Recurrent) or encoder.bidirectional:
        pytest.skip("does not resume")
    compare_resumed(encoder, compiled(encoder.forward_with_state))
    assert graphs() == 2


@broken
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # which a compiler reads
def test_lstm_and_gru_are_no_graph_and_compute_the_same(make: EncoderFactory) -> None:
    encoder = build(make)
    x, lengths = torch.randn(2, 3, F, dtype=torch.float64), torch.tensor([3, 2])
    with pytest.raises(Unsupported, match=r"RNN, GRU, or LSTM|pack_padded_sequence"):
        compiled(encoder.forward)(x, lengths)
    compare(encoder, compiled(encoder.forward, fullgraph=False))
    assert isinstance(encoder, Recurrent)
    if not encoder.bidirectional:
        compare_resumed(encoder, compiled(encoder.forward_with_state, fullgraph=False))


@pytest.mark.slow
def test_a_convolution_is_compiled_once_for_all_lengths() -> None:
    # Only torch's own compiler specializes on lengths here.
    encoder = build(partial(CNN, channels=4, widths=(2,)))
    compare(encoder, compiled(encoder.forward, backend="inductor"))
    assert graphs() == 1
