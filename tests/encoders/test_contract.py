"""Every encoder keeps the contract of srulight.encoders.base."""

import inspect
from functools import partial

import pytest
import torch
from torch import Tensor

from srulight import encoders
from srulight.encoders import CNN, QRNN, SRU, Encoder, EncoderFactory, Recurrent, SRUpp
from srulight.encoders.base import PeepholeLayer

B, T, F = 3, 7, 5

EXPORTED = [
    c
    for c in vars(encoders).values()
    if inspect.isclass(c) and issubclass(c, Encoder) and not inspect.isabstract(c)
]
RECURRENT = [c for c in EXPORTED if issubclass(c, Recurrent)]
VARIANTS: dict[str, EncoderFactory] = {
    **{c.__name__: c for c in EXPORTED},
    **{f"{c.__name__} both ways": partial(c, bidirectional=True) for c in RECURRENT},
    **{f"{c.__name__} as wide as its input": partial(c, hidden_size=F) for c in RECURRENT},
    "SRU pre": partial(SRU, layer_norm="pre", projection_size=3),
    "SRU post": partial(SRU, layer_norm="post", activation="tanh", hidden_size=F),
    "SRU 2017": partial(SRU, peephole=False, skip=False),
    "QRNN 3": partial(QRNN, kernel_size=3),
    "QRNN 2 highway": partial(QRNN, kernel_size=2, highway=True, hidden_size=F),
    "QRNN 3 both ways": partial(QRNN, kernel_size=3, highway=True, bidirectional=True),
    "SRUpp 2": partial(SRUpp, memory_size=2, num_heads=2, hidden_size=8),
    "SRUpp 2 both ways": partial(SRUpp, memory_size=2, num_heads=2, bidirectional=True),
    "SRUpp every 2nd": partial(SRUpp, memory_size=3, attention_every=2, num_layers=3),
    "SRUpp bare": partial(SRUpp, memory_size=1, peephole=False, layer_norm=False, hidden_size=F),
    "CNN 1": partial(CNN, widths=(1,)),
}
every = pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS.keys())


def moved_off_zero(encoder: Encoder) -> Encoder:
    """Draws parameters that start at zero, because zeros hide what they multiply."""
    for parameter in encoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    return encoder


@every
def test_shape(make: EncoderFactory) -> None:
    encoder = make(F)
    assert encoder.input_size == F
    assert encoder(torch.randn(B, T, F)).shape == (B, T, encoder.output_size)


@every
def test_padding_changes_nothing(make: EncoderFactory) -> None:
    encoder = make(F).eval()
    for parameter in encoder.parameters():  # a bias that starts at zero hides its effect
        torch.nn.init.normal_(parameter, std=0.2)
    x, lengths = torch.randn(B, T, F), torch.tensor([7, 4, 1])
    y = encoder(x, lengths)
    for b, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(y[b, :n], encoder(x[b : b + 1, :n])[0])
        assert not y[b, n:].any()


@every
@pytest.mark.parametrize("batch", [0, 2])
def test_there_may_be_no_steps(make: EncoderFactory, batch: int) -> None:
    encoder = make(F)
    x = torch.randn(batch, 0, F, requires_grad=True)
    for lengths in (None, torch.zeros(batch, dtype=torch.int64)):
        y = encoder(x, lengths)
        assert y.shape == (batch, 0, encoder.output_size)
        y.sum().backward()
    if isinstance(encoder, Recurrent) and not encoder.bidirectional:
        _, state = encoder.forward_with_state(torch.randn(batch, 4, F))
        for before in (None, state):
            y, after = encoder.forward_with_state(x, before)
            assert y.shape == (batch, 0, encoder.output_size)
            assert torch.equal(after, torch.zeros_like(state) if before is None else state)


@every
def test_there_may_be_no_sequences(make: EncoderFactory) -> None:
    encoder = make(F)
    for lengths in (None, torch.zeros(0, dtype=torch.int64)):
        y = encoder(torch.randn(0, T, F), lengths)
        assert y.shape == (0, T, encoder.output_size)
        y.sum().backward()


@every
def test_a_sequence_may_have_no_steps(make: EncoderFactory) -> None:
    encoder, x = make(F).eval(), torch.randn(B, T, F)
    y = encoder(x, torch.tensor([0, T, 0]))
    assert not y[0].any()
    assert not y[2].any()
    torch.testing.assert_close(y[1], encoder(x)[1])


@every
@pytest.mark.parametrize(
    ("x", "lengths", "sentence"),
    [
        (torch.zeros(T, F), None, rf"x must have shape \(batch, time, {F}\), got \({T}, {F}\)"),
        (torch.zeros(B, T, F, 1), None, r"x must have shape \(batch, time, .*, got"),
        (torch.zeros(B, T, F + 1), None, rf"time, {F}\), got \({B}, {T}, {F + 1}\)"),
        (torch.zeros(B, T, F), torch.tensor([1, 2]), r"lengths must have shape \(3,\), .* \(2,\)"),
        (torch.zeros(B, T, F), torch.tensor([[1, 2, 3]]), r"lengths must have shape \(3,\)"),
        (torch.zeros(B, T, F), torch.tensor(3), r"lengths must have shape \(3,\), .* \(\)"),
        (
            torch.zeros(B, T, F),
            torch.tensor([1, 2, T + 1]),
            r"lengths must be between 0 and 7, .* got 8",
        ),
        (
            torch.zeros(B, T, F),
            torch.tensor([1, -2, 3]),
            r"lengths must be between 0 and 7, .* got -2",
        ),
        (torch.zeros(B, T, F), torch.tensor([1, 2, 3]).int(), "lengths must be int64, got int32"),
        (torch.zeros(B, T, F), torch.ones(B), "lengths must be int64, got float32"),
        (
            torch.zeros(B, T, F),
            torch.ones(B).long().to("meta"),
            "on the device of x, cpu, got meta",
        ),
    ],
    ids=str,
)
def test_says_what_is_wrong(
    make: EncoderFactory, x: Tensor, lengths: Tensor | None, sentence: str
) -> None:
    encoder = make(F)
    with pytest.raises(ValueError, match=sentence):
        encoder(x, lengths)
    if lengths is None and isinstance(encoder, Recurrent) and not encoder.bidirectional:
        with pytest.raises(ValueError, match=sentence):
            encoder.forward_with_state(x)


@every
def test_shapes_are_known_on_meta(make: EncoderFactory) -> None:
    with torch.device("meta"):
        encoder = make(F)
        x, lengths = torch.randn(B, T, F), torch.ones(B, dtype=torch.int64)
        y = encoder(x, lengths if not getattr(encoder, "bidirectional", False) else None)
        assert y.shape == (B, T, encoder.output_size)
        y.sum().backward()
        if isinstance(encoder, Recurrent) and not encoder.bidirectional:
            _, state = encoder.forward_with_state(x)
            with torch.no_grad():
                assert encoder.forward_with_state(x[:, :1], state)[1].shape == state.shape


@every
def test_its_picture_shows_its_sizes(make: EncoderFactory) -> None:
    encoder = make(F)
    assert f"input_size={F}, output_size={encoder.output_size}" in repr(encoder)


@every
def test_padding_gets_no_gradient(make: EncoderFactory) -> None:
    x = torch.randn(B, T, F, requires_grad=True)
    make(F).eval()(x, torch.tensor([7, 4, 1])).square().sum().backward()
    assert x.grad is not None
    assert x.grad[0].any()
    assert not x.grad[1, 4:].any()
    assert not x.grad[2, 1:].any()


@every
def test_keeps_the_dtype(make: EncoderFactory) -> None:
    for dtype in (torch.float64, torch.bfloat16):
        y = make(F).to(dtype)(torch.randn(B, T, F, dtype=dtype), torch.tensor([7, 4, 1]))
        assert y.dtype == dtype


@every
def test_goes_on_in_half_precision(make: EncoderFactory) -> None:
    encoder = make(F).to(torch.bfloat16)
    if not isinstance(encoder, Recurrent) or encoder.bidirectional:
        pytest.skip("does not resume")
    state = None
    for piece in torch.randn(B, T, F, dtype=torch.bfloat16).split([3, 4], dim=1):
        y, state = encoder.forward_with_state(piece, state)
        assert y.dtype == torch.bfloat16


@every
def test_every_parameter_learns(make: EncoderFactory) -> None:
    encoder = moved_off_zero(make(F))
    encoder(torch.randn(B, T, F)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@every
def test_any_split_equals_one_pass(make: EncoderFactory) -> None:
    encoder = moved_off_zero(make(F)).eval()
    x = torch.randn(B, T, F)
    if not isinstance(encoder, Recurrent):
        pytest.skip("not recurrent")
    if encoder.bidirectional:
        with pytest.raises(ValueError, match="cannot run step by step"):
            encoder.forward_with_state(x)
        return
    whole = encoder(x)
    _, end = encoder.forward_with_state(x)
    for pieces in ([3, 4], [1] * T, [6, 1]):
        for with_gradients in (True, False):  # without gradients, a step may take a different path
            state, outputs = None, []
            with torch.set_grad_enabled(with_gradients):
                for piece in x.split(pieces, dim=1):
                    y, state = encoder.forward_with_state(piece, state)
                    outputs.append(y)
            torch.testing.assert_close(torch.cat(outputs, dim=1), whole)
            torch.testing.assert_close(state, end)


@every
def test_slopes_multiply_to_the_derivative_of_the_last_state(make: EncoderFactory) -> None:
    encoder = moved_off_zero(make(F)).double().eval()
    layers = [module for module in encoder.modules() if isinstance(module, PeepholeLayer)]
    if not layers:
        pytest.skip("no gate sees the state")
    assert isinstance(encoder, Recurrent)
    x, lengths = torch.randn(B, T, F, dtype=torch.float64), torch.tensor([7, 4, 1])
    states = (
        [None] * len(layers) if encoder.bidirectional else encoder.forward_with_state(x)[1].unbind()
    )
    for layer, old in zip(layers, states, strict=True):
        state = None if old is None else old.detach().requires_grad_()
        h, last = layer(x, state, lengths)
        state_jacobian = layer.state_jacobian(x, state, lengths)
        if layer.peephole is None:
            assert state_jacobian is None
        elif state is None:
            assert state_jacobian is not None
            assert state_jacobian.shape == (B, T, h.size(2) // 2)
        else:
            assert state_jacobian is not None
            assert state_jacobian.shape == h.shape
            (gradient,) = torch.autograd.grad(last.sum(), state)
            torch.testing.assert_close(state_jacobian.prod(dim=1), gradient[:, : h.size(2)])
        x = h.detach()


def test_slopes_of_both_ways_are_those_of_the_way_forward() -> None:
    layer = SRU(F, 4, 1, bidirectional=True).double().layers[0]
    assert isinstance(layer, PeepholeLayer)
    x = torch.randn(B, T, F, dtype=torch.float64)
    state = torch.randn(B, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x, state)[1].sum(), state)
    state_jacobian = layer.state_jacobian(x, state)
    assert state_jacobian is not None
    torch.testing.assert_close(state_jacobian.prod(dim=1), gradient[:, :4])
