"""A stack of layers in one operator equals its layers, one after the other."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srulight import SRU
from srulight.encoders import sru as module
from srulight.ops import sru_stack
from srulight.quantization import quantize
from srulight.quantization.replace import Bits

pytestmark = pytest.mark.usefixtures("device")

OPERATOR = "srulight::sru_stack"
CLOSE = {torch.float64: 1e-12, torch.float32: 1e-5}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"peephole": False, "activation": "tanh"},
    {"skip": False, "activation": "relu"},
    {"bidirectional": True, "highway_bias": -2.0},
    {"rescale": False, "num_layers": 1},
]


def operators(encoder: nn.Module, *arguments: Any) -> set[str]:  # noqa: ANN401
    with torch.no_grad(), torch.autograd.profiler.profile() as profile:
        encoder(*arguments)
    return {event.key for event in profile.key_averages()}


def random_encoder(features: int, dtype: torch.dtype, options: dict[str, Any]) -> SRU:
    encoder = SRU(features, 12, **{"num_layers": 3, **options}).to(dtype)
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(torch.randn_like(p), alpha=0.3)
    return encoder


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("features", [12, 7])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_its_layers(dtype: torch.dtype, features: int, options: dict[str, Any]) -> None:
    encoder = random_encoder(features, dtype, options)
    x = torch.randn(3, 5, features, dtype=dtype)
    lengths = torch.tensor([5, 2, 0])
    with torch.no_grad():
        y, expected = x, []
        for layer in encoder.layers:
            y, state = layer(y, None, lengths)
            expected.append(state)
        got = encoder(x, lengths)
        torch.testing.assert_close(got, y, rtol=CLOSE[dtype], atol=CLOSE[dtype])
    assert OPERATOR in operators(encoder, x, lengths)


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
def test_carries_the_states_of_all_layers(dtype: torch.dtype) -> None:
    encoder = random_encoder(7, dtype, {})
    x, state = torch.randn(2, 6, 7, dtype=dtype), torch.randn(3, 2, 12, dtype=dtype)
    y, after = encoder.forward_with_state(x, state)  # with gradients, layer after layer
    with torch.no_grad():
        pieces: list[Tensor] = []
        c = state
        for steps in (1, 3, 2):
            part, c = encoder.forward_with_state(x[:, : len(pieces) + steps][:, -steps:], c)
            pieces += [part[:, i : i + 1] for i in range(steps)]
    torch.testing.assert_close(torch.cat(pieces, 1), y, rtol=CLOSE[dtype], atol=CLOSE[dtype])
    torch.testing.assert_close(c, after, rtol=CLOSE[dtype], atol=CLOSE[dtype])


def test_passes_opcheck() -> None:
    encoder = random_encoder(12, torch.float32, {}).requires_grad_(False)
    layers = list(encoder.layers)
    arguments = (
        torch.randn(2, 3, 12),
        [layer.weight for layer in layers],
        [layer.peephole for layer in layers],
        [layer.bias for layer in layers],
        torch.randn(3, 2, 12),
        torch.tensor([3, 1]),
        [1.5, 1.0, 0.5],
        True,
        0,
        False,
    )
    torch.library.opcheck(torch.ops.srulight.sru_stack.default, arguments)


def train_with_dropout(encoder: SRU) -> None:
    encoder.train()
    for layer in encoder.layers:
        layer.dropout = 0.5  # type: ignore[assignment]


def hook(encoder: SRU) -> None:
    encoder.layers[1].register_forward_hook(lambda *_: None)


def parametrize(encoder: SRU) -> None:
    nn.utils.parametrizations.weight_norm(encoder.layers[0], "weight")


@pytest.mark.parametrize("change", [train_with_dropout, hook, parametrize, lambda e: e.bfloat16()])
def test_layers_that_do_more_run_one_by_one(change: Any) -> None:  # noqa: ANN401
    encoder = random_encoder(12, torch.float32, {}).eval()
    x = torch.randn(2, 3, 12)
    assert OPERATOR in operators(encoder, x)
    change(encoder)
    dtype = next(encoder.parameters()).dtype
    assert OPERATOR not in operators(encoder, x.to(dtype))


@pytest.mark.parametrize("options", [{"layer_norm": "pre"}, {"projection_size": 4}], ids=str)
def test_layers_with_more_parts_run_one_by_one(options: dict[str, Any]) -> None:
    assert OPERATOR not in operators(SRU(12, 12, **options), torch.randn(2, 3, 12))


@pytest.mark.parametrize(("bits", "is_one"), [(8, True), (4, False)])
def test_small_products_of_integers_are_products_of_floats(bits: Bits, is_one: bool) -> None:
    encoder = random_encoder(12, torch.float32, {}).eval()
    quantize(encoder, bits=bits)
    x = torch.randn(2, 3, 12)
    with torch.no_grad():
        y = x
        for layer in encoder.layers:
            y, _ = layer(y)
        torch.testing.assert_close(encoder(x), y)
    assert (OPERATOR in operators(encoder, x)) == is_one


def test_long_inputs_and_autocast_run_one_by_one() -> None:
    encoder = SRU(12, 12)
    assert OPERATOR not in operators(encoder, torch.randn(2, module.SHORT, 12))
    with torch.autocast("cpu", torch.bfloat16):
        assert OPERATOR not in operators(encoder, torch.randn(2, 3, 12))


def bad(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    layers: dict[str, list[Tensor]] = {
        "weights": [torch.randn(12, 4), torch.randn(12, 4)],
        "peepholes": [torch.randn(2, 4), torch.randn(2, 4)],
        "biases": [torch.randn(2, 4), torch.randn(2, 4)],
    }
    return {"x": torch.randn(2, 3, 4), **layers, "scales": [1.0, 1.0], **changes}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"x": torch.randn(3, 4)}, r"x must be 3-D \(batch, time, feature\), got \(3, 4\)"),
        ({"weights": []}, "must have an entry for each layer, got 0, 2, 2 and 2"),
        ({"scales": [1.0]}, "must have an entry for each layer, got 2, 2, 1 and 2"),
        ({"biases": [torch.randn(2, 4), torch.randn(2, 5)]}, "weight must have shape"),
        ({"biases": [torch.randn(4), torch.randn(4)]}, "b must have shape"),
        ({"c0": torch.randn(1, 2, 4)}, r"c0 must have shape \(2, 2, 4\), got \(1, 2, 4\)"),
        ({"c0": torch.randn(2, 3, 4)}, r"c0 must have shape"),
        ({"lengths": torch.tensor([3, 9])}, "lengths must be between 0 and 3"),
        ({"peepholes": [torch.randn(2, 4), torch.randn(3, 4)]}, r"v must have shape \(2, 4\)"),
        ({"weights": [torch.randn(12, 4), torch.randn(12, 4).double()]}, "weight must have dtype"),
        ({"weights": [torch.randn(12, 4).to_sparse()] * 2}, "weights must be a dense tensor"),
    ],
)
def test_refuses(changes: dict[str, Any], sentence: str, device: str) -> None:
    if device != "cpu":
        pytest.skip("the arguments are on the CPU")
    with pytest.raises(RuntimeError, match=sentence):
        sru_stack(**bad(**changes))
