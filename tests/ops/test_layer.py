"""A whole layer equals the product followed by the reference of the recurrence."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from srulight import SRU
from srulight.ops import reference, sru_layer

pytestmark = pytest.mark.usefixtures("device")

# A small size, and one large enough for oneDNN to compute the product.
SIZES = {"small": (3, 18, 12, 20), "large": (2, 40, 256, 256)}
CLOSE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 5e-2}


def make(
    batch: int, steps: int, features: int, channels: int, dtype: torch.dtype, skip: str
) -> dict[str, Any]:
    """Draws the arguments of a layer. ``skip`` is "input", "other" (another tensor) or "gate"."""
    features = channels if skip == "input" else features
    wide = reference.wide(dtype)
    x = torch.randn(batch, steps, features, dtype=dtype)
    gates = 4 if skip == "gate" else 3
    weight = (torch.randn(gates * channels, features) / features**0.5).to(dtype)
    other = torch.randn(batch, steps, channels, dtype=dtype)
    arguments: dict[str, Any] = {
        "x": x,
        "weight": weight,
        "skip": {"input": x, "other": other, "gate": None}[skip],
        "v": torch.randn(2, channels, dtype=wide),
        "b": torch.randn(2, channels, dtype=wide),
        "c0": torch.randn(batch, channels, dtype=wide),
        "mask": None,
        "lengths": torch.tensor([steps, *[steps // 2] * (batch - 1)]),
    }
    for name in ("x", "weight", "skip", "v", "b", "c0"):
        if arguments[name] is not None:
            arguments[name].requires_grad_()
    return arguments


def expected_layer(
    arguments: dict[str, Any], *, scale: float, activation: str, bidirectional: bool
) -> tuple[Tensor, Tensor]:
    x, weight, *rest = arguments.values()
    u = F.linear(x, weight).unflatten(-1, (-1, arguments["b"].size(1)))
    rest += [scale, reference.ACTIVATIONS.index(activation), bidirectional, False]
    h, last, _ = reference.sru(u, *rest)
    return h, last


def gradients(h: Tensor, last: Tensor, arguments: dict[str, Any]) -> list[Tensor]:
    leaves = [arguments[n] for n in ("x", "weight", "v", "b", "c0")]
    if arguments["skip"] is not None and arguments["skip"] is not arguments["x"]:
        leaves.append(arguments["skip"])
    torch.manual_seed(1)
    seeds = [torch.randn(t.shape).to(t.dtype) for t in (h, last)]
    return list(torch.autograd.grad([h, last], leaves, seeds))


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "two ways"])
@pytest.mark.parametrize("skip", ["input", "other", "gate"])
@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_equals_product_and_reference(
    sizes: tuple[int, int, int, int], dtype: torch.dtype, skip: str, bidirectional: bool
) -> None:
    arguments = make(*sizes, dtype, skip)
    options: dict[str, Any] = {
        "scale": 1.3 if skip != "gate" else 1.0,
        "activation": "tanh",
        "bidirectional": bidirectional,
    }
    h, last = sru_layer(**arguments, **options)
    expected = expected_layer(arguments, **options)
    close: dict[str, Any] = {"rtol": CLOSE[dtype], "atol": CLOSE[dtype]}
    torch.testing.assert_close((h, last), expected, **close)
    with torch.no_grad():  # takes a different path
        torch.testing.assert_close(sru_layer(**arguments, **options), expected, **close)
    for got, wanted in zip(
        gradients(h, last, arguments), gradients(*expected, arguments), strict=True
    ):
        torch.testing.assert_close(
            got, wanted, rtol=0, atol=CLOSE[dtype] * wanted.abs().max().item()
        )


@pytest.mark.parametrize("compiled", [True, False], ids=["kernels", "reference"])
def test_input_may_lie_anywhere(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(torch.ops.srulight.sru, "default", reference.sru)
        monkeypatch.setattr(torch.ops.srulight.sru_backward, "default", reference.sru_backward)
    x = torch.randn(40, 2, 256).transpose(0, 1).requires_grad_()
    encoder = SRU(256, 256)
    packed = x.detach().contiguous().requires_grad_()
    results = []
    for y in (x, packed):
        encoder.zero_grad()
        encoder(y).square().sum().backward()
        results.append([y.grad, encoder.layers[0].weight.grad])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("hidden_size", [16, 20], ids=["skips the input", "fourth gate"])
def test_an_input_without_gradient_gets_none(hidden_size: int) -> None:
    encoder = SRU(16, hidden_size, num_layers=1)
    x = torch.randn(2, 5, 16)
    results = []
    for needed in (False, True):
        encoder.zero_grad()
        with torch.autograd.profiler.profile() as profile:
            encoder(x.requires_grad_(needed)).square().sum().backward()
        products = sum(e.count for e in profile.key_averages() if "mm" in e.key)
        results.append(([p.grad for p in encoder.parameters()], products))
    torch.testing.assert_close(results[0][0], results[1][0])
    assert results[0][1] < results[1][1]


def test_autocast_needs_no_cast_by_the_caller(device: str) -> None:
    encoder = SRU(32, 32, num_layers=3, projection_size=8)
    x, lengths = torch.randn(4, 20, 32), torch.tensor([20, 11, 3, 1])
    with torch.autocast(device, torch.bfloat16):
        y = encoder(x, lengths)
    y.float().square().mean().backward()
    assert y.dtype == torch.bfloat16
    got = [p.grad for p in encoder.parameters()]
    encoder.zero_grad()
    expected = encoder(x, lengths)
    expected.square().mean().backward()
    torch.testing.assert_close(y.float(), expected, rtol=5e-2, atol=5e-2)
    for a, p in zip(got, encoder.parameters(), strict=True):
        assert p.grad is not None
        assert a is not None
        assert a.dtype == torch.float32
        assert (a - p.grad).norm() < 3e-2 * p.grad.norm()


@pytest.mark.parametrize("batch", [1, 20], ids=["few", "many"])
def test_states_stay_wide_under_autocast(batch: int, device: str) -> None:
    encoder = SRU(16, 16)
    x = torch.randn(batch, 30, 16)
    state, outputs = None, []
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
        whole, last = encoder.forward_with_state(x)
        for step in x.split(1, dim=1):
            y, state = encoder.forward_with_state(step, state)
            outputs.append(y)
    assert state is not None
    assert state.dtype == last.dtype == torch.float32
    assert whole.dtype == outputs[0].dtype == torch.bfloat16
    torch.testing.assert_close(torch.cat(outputs, 1), whole, rtol=5e-2, atol=5e-2)


def test_half_modules() -> None:
    encoder = SRU(16, 16, bidirectional=True).bfloat16()
    y = encoder(torch.randn(2, 5, 16, dtype=torch.bfloat16), torch.tensor([5, 2]))
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.bfloat16 for p in encoder.parameters())


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
def test_step_equals_a_layer_of_one_step(dtype: torch.dtype) -> None:
    arguments = make(3, 1, 20, 20, dtype, "input") | {"lengths": None}
    x, weight, skip, v, b, c0, *_ = arguments.values()
    with torch.no_grad():
        got = torch.ops.srulight.sru_step(x, weight, skip, v, b, c0, 1.3, 1)
    expected = expected_layer(arguments, scale=1.3, activation="tanh", bidirectional=False)
    torch.testing.assert_close(got, expected, rtol=CLOSE[dtype], atol=CLOSE[dtype])


def test_step_passes_opcheck() -> None:
    arguments = list(make(3, 1, 20, 20, torch.float32, "input").values())[:6]
    arguments = [a.detach() for a in arguments]
    torch.library.opcheck(torch.ops.srulight.sru_step.default, (*arguments, 1.3, 0))


def test_one_step_without_gradients_takes_the_short_way() -> None:
    layer = SRU(8, 8, num_layers=1, layer_norm="post").layers[0]
    with torch.no_grad(), torch.autograd.profiler.profile() as profile:
        layer(torch.randn(2, 1, 8))
    assert "srulight::sru_step" in {e.key for e in profile.key_averages()}


@pytest.mark.parametrize("shape", [(0, 5, 8), (2, 0, 8), (0, 1, 8), (3, 1, 8)])
@pytest.mark.parametrize("train", [False, True])
def test_empty_and_single(shape: tuple[int, int, int], train: bool) -> None:
    encoder = SRU(8, 8)
    x = torch.randn(shape, requires_grad=train)
    with torch.set_grad_enabled(train):
        y, state = encoder.forward_with_state(x)
    assert y.shape == shape
    assert state.shape == (2, shape[0], 8)
    if train:
        (y.sum() + state.sum()).backward()
        assert x.grad is not None
        assert x.grad.shape == shape


def test_compiles_whole_with_gradients() -> None:
    encoder = SRU(12, 12, projection_size=4)
    compiled = torch.compile(encoder, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch, steps in ((2, 5), (3, 8)):
        x = torch.randn(batch, steps, 12)
        lengths = torch.tensor([steps, *[2] * (batch - 1)])
        results = []
        for run in (compiled, encoder):
            encoder.zero_grad()
            y = run(x, lengths)
            y.square().sum().backward()
            results.append([y, *[p.grad for p in encoder.parameters()]])
        torch.testing.assert_close(*results)


def test_says_that_second_derivatives_are_not_there() -> None:
    x = torch.randn(2, 3, 8, requires_grad=True)
    y = SRU(8, 8)(x)
    with pytest.raises(RuntimeError, match="first derivatives only; for create_graph=True"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


def test_says_that_an_exported_program_has_no_gradients() -> None:
    encoder = SRU(8, 8)
    program = torch.export.export(encoder, (torch.randn(2, 3, 8),)).module()
    y = program(torch.randn(2, 3, 8, requires_grad=True))
    with pytest.raises(RuntimeError, match="exported for inference and has no gradients"):
        y.sum().backward()


@pytest.mark.parametrize("shape", [(2, 3, 9), (3, 8)], ids=["width", "2-D"])
def test_says_what_is_wrong(shape: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError, match=r"x must have shape \(batch, time, 8\), got \("):
        sru_layer(torch.randn(shape), torch.randn(24, 8), None, None, torch.randn(2, 8))
