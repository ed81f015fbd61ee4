"""Encoders of maps compute what other implementations compute."""

from typing import Any

import pytest
import torch
from torch import nn

from srulight import SRU, ConvLSTM, ConvSRU

B, T, F, H, W = 2, 5, 4, 3, 2


def converted(encoder: ConvSRU, **options: Any) -> SRU:  # noqa: ANN401
    """Returns an SRU with the weights of a ConvSRU whose kernels have one element."""
    sru = SRU(F, encoder.output_size, len(encoder.layers), **options)
    weights = {name: w.flatten(1) for name, w in encoder.state_dict().items()}
    sru.load_state_dict(weights)
    return sru


@pytest.mark.parametrize("hidden_size", [F, 6])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "tanh", "highway_bias": -1.0},
        {"peephole": False, "skip": False},
        {"rescale": False},
    ],
    ids=str,
)
def test_kernels_of_one_element_are_an_sru_at_each_place(
    hidden_size: int, options: dict[str, Any]
) -> None:
    encoder = ConvSRU(F, hidden_size, 2, kernel_size=1, **options)
    layer: Any
    for layer in encoder.layers:
        nn.init.normal_(layer.bias)
    sru = converted(encoder, **options)
    x = torch.randn(B, T, F, H, W, requires_grad=True)
    y, state = encoder.forward_with_state(x)
    each = x.permute(0, 3, 4, 1, 2).reshape(-1, T, F)  # (B * h * w, T, F)
    expected, end = sru.forward_with_state(each)
    places = expected.view(B, H, W, T, -1).permute(0, 3, 4, 1, 2)
    torch.testing.assert_close(y, places)
    end = end.view(2, B, H, W, -1).permute(0, 1, 4, 2, 3).flatten(2)
    torch.testing.assert_close(state, end)

    own = [x, *encoder.parameters()]
    names = [name for name, _ in encoder.named_parameters()]
    other = dict(sru.named_parameters())
    factor = torch.randn_like(y)
    found = torch.autograd.grad((y * factor).sum(), own, retain_graph=True)
    wanted = torch.autograd.grad((places * factor).sum(), [x, *(other[n] for n in names)])
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.view_as(two), two, rtol=1e-4, atol=1e-5)


def test_gates_are_convolutions_of_the_input() -> None:
    """One layer without peephole and skip, written as the equations are, step by step."""
    encoder = ConvSRU(F, 6, peephole=False, skip=False, activation="tanh")
    layer: Any = encoder.layers[0]
    nn.init.normal_(layer.bias)
    x = torch.randn(B, T, F, H, W)
    conv = nn.Conv2d(F, 18, 3, padding=1, bias=False)
    conv.load_state_dict({"weight": layer.weight})
    c = torch.zeros(B, 6, H, W)
    outputs = []
    for step in x.unbind(1):
        candidate, forget, reset = conv(step).chunk(3, 1)
        f = torch.sigmoid(forget + layer.bias[0].view(6, 1, 1))
        r = torch.sigmoid(reset + layer.bias[1].view(6, 1, 1))
        c = f * c + (1 - f) * candidate
        outputs.append(r * c.tanh())
    torch.testing.assert_close(encoder(x), torch.stack(outputs, 1))


def test_a_mask_holds_for_a_channel_of_a_whole_sequence() -> None:
    encoder = ConvSRU(F, F, 2, kernel_size=1, dropout=0.5)
    layer: Any = encoder.layers[0]
    x = torch.randn(8, T, F, H, W)
    h, _ = layer(x)
    dropped = torch.isclose(h, layer.scale * x).all((1, 3, 4))  # (B, F): the skip alone
    assert torch.equal(torch.isclose(h, layer.scale * x).any(1).any(2).any(2), dropped)
    assert 4 <= int(dropped.sum()) <= 28  # of 32
    last: Any = encoder.layers[1]
    assert not torch.isclose(last(x)[0], last.scale * x).any()


def test_an_lstm_of_one_place_is_that_of_torch() -> None:
    encoder = ConvLSTM(F, 6, 2, kernel_size=1)
    lstm = nn.LSTM(F, 6, 2, batch_first=True)
    layer: Any
    for i, layer in enumerate(encoder.layers):
        lstm.load_state_dict(
            lstm.state_dict()
            | {
                f"weight_ih_l{i}": layer.weight.flatten(1),
                f"weight_hh_l{i}": layer.recurrent_weight.flatten(1),
                f"bias_ih_l{i}": layer.bias,
                f"bias_hh_l{i}": torch.zeros(24),
            }
        )
    x = torch.randn(B, T, F)
    y, state = encoder.forward_with_state(x[..., None, None])
    expected, (h, c) = lstm(x)
    torch.testing.assert_close(y[..., 0, 0], expected)
    torch.testing.assert_close(state, torch.cat((h, c), -1))


def test_an_lstm_sees_the_outputs_of_its_neighbors() -> None:
    """One layer, written as equation 3 is, step by step."""
    encoder = ConvLSTM(F, 3)
    layer: Any = encoder.layers[0]
    x = torch.randn(B, T, F, H, W)
    whole = nn.Conv2d(F + 3, 12, 3, padding=1)
    kernels = torch.cat((layer.weight, layer.recurrent_weight), 1)
    whole.load_state_dict({"weight": kernels, "bias": layer.bias})
    h = c = torch.zeros(B, 3, H, W)
    outputs = []
    for step in x.unbind(1):
        i, f, g, o = whole(torch.cat((step, h), 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    torch.testing.assert_close(encoder(x), torch.stack(outputs, 1))
