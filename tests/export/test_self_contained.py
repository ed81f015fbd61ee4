"""Programs without srulight's operators compute what srulight computes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from srulight.encoders import LSTM, SRU
from srulight.encoders.conv_lstm import ConvLSTM
from srulight.export import self_contained
from srulight.export.formats import PlainProgram
from srulight.export.networks.base import Model, Sizes
from srulight.layers.masking import zero_padding
from srulight.ops import reference


def looped(body: Any, state: Any, xs: Any, backwards: bool = False) -> tuple[Any, Any]:  # noqa: ANN401
    """Runs a function step by step, as ``scan`` does after it has compiled it."""
    parts = xs if isinstance(xs, tuple) else (xs,)
    order = range(len(parts[0]))
    outputs = [torch.empty(0)] * len(order)
    for t in reversed(order) if backwards else order:
        step = tuple(one[t] for one in parts)
        state, outputs[t] = body(state, step if isinstance(xs, tuple) else step[0])
    return state, torch.stack(outputs)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("steps", [1, 6])
def test_sru(monkeypatch: pytest.MonkeyPatch, bidirectional: bool, steps: int) -> None:
    monkeypatch.setattr(self_contained, "_scanned", looped)
    u, skip, v, b, c0 = (
        torch.randn(*s) for s in ((3, steps, 3, 4), (3, steps, 4), (2, 4), (2, 4), (3, 4))
    )
    lengths = torch.tensor([steps, 1, 0])
    options = (None, lengths, 1.5, 1, bidirectional, False)
    expected = reference.sru(u, skip, v, b, c0, *options)
    found = self_contained._sru(u, skip, v, b, c0, *options)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    plain = (None, None, 1.0, 0, bidirectional, False)
    bare = torch.randn(2, steps, 4, 4)
    torch.testing.assert_close(
        self_contained._sru(bare, None, None, b, None, *plain)[0],
        reference.sru(bare, None, None, b, None, *plain)[0],
    )


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_layers_of_torch(monkeypatch: pytest.MonkeyPatch, kind: type[nn.LSTM | nn.GRU]) -> None:
    monkeypatch.setattr(self_contained, "_scanned", looped)
    rnn = kind(3, 4, 2, batch_first=True, bidirectional=True)
    x, lengths = torch.randn(3, 5, 3), torch.tensor([5, 1, 3])
    h0 = torch.zeros(4, 3, 4)
    weights: list[Tensor] = [one for group in rnn.all_weights for one in group]
    found = self_contained._torch_recurrent(
        x, lengths, h0, h0 if kind is nn.LSTM else None, weights, 2, True
    )
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, last = rnn(packed)
    torch.testing.assert_close(found[0], pad_packed_sequence(y, batch_first=True)[0])
    for one, other in zip(found[1:], last if kind is nn.LSTM else (last,), strict=False):
        torch.testing.assert_close(one, other)


def test_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_contained, "_scanned", looped)
    (layer,) = ConvLSTM(2, 3).layers
    inputs, state = torch.randn(2, 4, 12, 5, 6), torch.randn(2, 2, 3, 5, 6)
    weight: Any = layer.recurrent_weight
    operator = torch.ops.srulight.conv_lstm.default
    found = self_contained._conv_lstm(inputs, state[0], state[1], weight)
    for one, other in zip(found, operator(inputs, state[0], state[1], weight), strict=True):
        torch.testing.assert_close(one, other)


class Both(nn.Module):
    """An SRU and an LSTM that read padded batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sru, self.lstm = SRU(4, 3, 1, bidirectional=True), LSTM(6, 3, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return zero_padding(self.lstm(self.sru(x, lengths), lengths), lengths)


@pytest.mark.slow
def test_program_runs_without_srulight(tmp_path: Path) -> None:
    def draw(sizes: Sizes) -> tuple[Tensor, Tensor]:
        batch, steps = sizes["batch"], sizes["steps"]
        lengths = torch.randint(1, steps + 1, (batch,))
        return torch.randn(batch, steps, 4), lengths.index_fill(0, torch.tensor([0]), steps)

    shapes: dict[str, tuple[str | int, ...]] = {"x": ("batch", "steps", 4), "n": ("batch",)}
    model = Model("model", "", Both().eval(), shapes, {"y": ("batch", "steps", 3)}, draw, {})
    run = PlainProgram().write(model, tmp_path)
    for batch, steps in ((1, 1), (2, 9), (5, 3)):
        given = draw({"batch": batch, "steps": steps})
        torch.testing.assert_close(run(given)[0], model.run(given)[0], rtol=1e-4, atol=1e-5)
    torch.save((given, model.run(given)), tmp_path / "example.pt")
    code = (
        "import sys, torch; sys.modules['srulight'] = None;"
        "given, (expected,) = torch.load('example.pt');"
        "found = torch.export.load('model.pt2').module()(*given);"
        "found = found[0] if isinstance(found, (tuple, list)) else found;"
        "torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)"
    )
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert out.returncode == 0, out.stderr
