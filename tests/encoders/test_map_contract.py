"""Every encoder of maps keeps the contract of srulight.encoders.map_base."""

import inspect
from functools import partial

import pytest
import torch
from torch import Tensor

from srulight import encoders
from srulight.encoders import ConvLSTM, ConvSRU, MapEncoder, MapEncoderFactory

B, T, F, H, W = 3, 5, 4, 3, 2

EXPORTED = [
    c
    for c in vars(encoders).values()
    if inspect.isclass(c) and issubclass(c, MapEncoder) and not inspect.isabstract(c)
]
VARIANTS: dict[str, MapEncoderFactory] = {
    **{c.__name__: partial(c, hidden_size=6) for c in EXPORTED},
    **{f"{c.__name__} two layers": partial(c, hidden_size=F, num_layers=2) for c in EXPORTED},
    "ConvSRU 2017": partial(ConvSRU, hidden_size=6, peephole=False, skip=False),
    "ConvSRU 1": partial(ConvSRU, hidden_size=6, kernel_size=1, activation="tanh", dropout=0.3),
    "ConvLSTM 5": partial(ConvLSTM, hidden_size=3, kernel_size=5, num_layers=2, dropout=0.3),
}
every = pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS.keys())


def maps(batch: int = B, steps: int = T) -> Tensor:
    return torch.randn(batch, steps, F, H, W)


def moved_off_zero(encoder: MapEncoder) -> MapEncoder:
    """Draws parameters that start at zero, because zeros hide what they multiply."""
    for parameter in encoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    return encoder


def test_all_are_exported() -> None:
    assert {c.__name__ for c in EXPORTED} == {"ConvSRU", "ConvLSTM"}


@every
def test_shape(make: MapEncoderFactory) -> None:
    encoder = make(F)
    assert encoder.input_size == F
    assert encoder(maps()).shape == (B, T, encoder.output_size, H, W)
    assert f"input_size={F}, output_size={encoder.output_size}" in repr(encoder)


@every
def test_padding_changes_nothing(make: MapEncoderFactory) -> None:
    encoder = moved_off_zero(make(F)).eval()
    x, lengths = maps(), torch.tensor([T, 3, 0])
    y = encoder(x, lengths)
    for b, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(y[b, :n], encoder(x[b : b + 1, :n])[0])
        assert not y[b, n:].any()


@every
def test_padding_gets_no_gradient(make: MapEncoderFactory) -> None:
    x = maps().requires_grad_()
    make(F).eval()(x, torch.tensor([T, 3, 1])).square().sum().backward()
    assert x.grad is not None
    assert x.grad[0].any()
    assert not x.grad[1, 3:].any()
    assert not x.grad[2, 1:].any()


@every
@pytest.mark.parametrize(("batch", "steps"), [(0, T), (2, 0), (0, 0)])
def test_there_may_be_nothing(make: MapEncoderFactory, batch: int, steps: int) -> None:
    encoder = make(F)
    for lengths in (None, torch.zeros(batch, dtype=torch.int64)):
        y = encoder(maps(batch, steps).requires_grad_(), lengths)
        assert y.shape == (batch, steps, encoder.output_size, H, W)
        y.sum().backward()
    _, state = encoder.forward_with_state(maps(batch, 2))
    y, after = encoder.forward_with_state(maps(batch, steps), state)
    assert y.shape == (batch, steps, encoder.output_size, H, W)
    if not steps:
        torch.testing.assert_close(after, state)


@every
def test_any_split_equals_one_pass(make: MapEncoderFactory) -> None:
    encoder = moved_off_zero(make(F)).eval()
    x = maps()
    whole = encoder(x)
    y, end = encoder.forward_with_state(x)
    torch.testing.assert_close(y, whole)
    for pieces in ([2, 3], [1] * T, [4, 1]):
        for with_gradients in (True, False):
            state, outputs = None, []
            with torch.set_grad_enabled(with_gradients):
                for piece in x.split(pieces, dim=1):
                    y, state = encoder.forward_with_state(piece, state)
                    outputs.append(y)
            torch.testing.assert_close(torch.cat(outputs, dim=1), whole)
            torch.testing.assert_close(state, end)


@every
def test_a_step_depends_on_no_later_one(make: MapEncoderFactory) -> None:
    encoder, x = make(F).eval(), maps()
    before = encoder(x)
    x[:, 3:] += 1
    torch.testing.assert_close(encoder(x)[:, :3], before[:, :3])
    assert not torch.allclose(encoder(x)[:, 3:], before[:, 3:])


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_keeps_the_dtype(make: MapEncoderFactory, dtype: torch.dtype) -> None:
    encoder = make(F).to(dtype)
    x = maps().to(dtype)
    assert encoder(x, torch.tensor([T, 3, 1])).dtype == dtype
    state = None
    for piece in x.split([2, 3], dim=1):
        y, state = encoder.forward_with_state(piece, state)
        assert y.dtype == dtype


@every
def test_autocast_changes_little(make: MapEncoderFactory) -> None:
    encoder, x = make(F).eval(), maps()
    with torch.autocast("cpu", torch.bfloat16):
        y = encoder(x)
        first, state = encoder.forward_with_state(x[:, :2])
        second, _ = encoder.forward_with_state(x[:, 2:], state)
    torch.testing.assert_close(y.float(), encoder(x), rtol=0.1, atol=0.1)
    split = torch.cat((first, second), 1).float()
    torch.testing.assert_close(split, encoder(x), rtol=0.1, atol=0.1)


@every
def test_every_parameter_learns(make: MapEncoderFactory) -> None:
    encoder = moved_off_zero(make(F))
    encoder(maps()).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@every
def test_shapes_are_known_on_meta(make: MapEncoderFactory) -> None:
    with torch.device("meta"):
        encoder = make(F)
        y = encoder(maps(), torch.ones(B, dtype=torch.int64))
        assert y.shape == (B, T, encoder.output_size, H, W)
        y.sum().backward()


@every
@pytest.mark.parametrize(
    ("x", "lengths", "sentence"),
    [
        (torch.zeros(T, F, H, W), None, rf"\(batch, time, {F}, height, width\), got \(5, 4, 3, 2"),
        (torch.zeros(B, T, 5, H, W), None, r"x must have shape .*, got \(3, 5, 5, 3, 2\)"),
        (maps(), torch.tensor([1, 2]), r"lengths must have shape \(3,\), .* \(2,\)"),
        (maps(), torch.tensor([1, 2, T + 1]), r"lengths must be between 0 and 5, .* got 6"),
        (maps(), torch.tensor([1, -2, 3]), r"lengths must be between 0 and 5, .* got -2"),
        (maps(), torch.tensor([1, 2, 3]).int(), "lengths must be int64, got int32"),
        (maps(), torch.ones(B).long().to("meta"), "on the device of x, cpu, got meta"),
    ],
)
def test_says_what_is_wrong(
    make: MapEncoderFactory, x: Tensor, lengths: Tensor | None, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        make(F)(x, lengths)


@every
def test_a_state_belongs_to_the_size_of_the_maps(make: MapEncoderFactory) -> None:
    encoder = make(F)
    _, state = encoder.forward_with_state(maps())
    with pytest.raises(ValueError, match=r"state must have shape \(\d, 2, \d+\), got"):
        encoder.forward_with_state(maps(2), state)
    with pytest.raises(ValueError, match=r"state must have shape \(\d, 3, \d+\), got"):
        encoder.forward_with_state(torch.zeros(B, T, F, 5, 5), state)


@pytest.mark.parametrize("cls", EXPORTED)
def test_kernels_have_a_center(cls: type) -> None:
    for size in (0, 2, -1):
        with pytest.raises(ValueError, match=f"kernel_size must be odd and .* 1, got {size}"):
            cls(F, kernel_size=size)
