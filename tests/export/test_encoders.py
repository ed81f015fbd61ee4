"""Every encoder computes the same in ONNX Runtime as in PyTorch, for other sizes than exported."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from srulight.encoders import (
    CNN,
    GRU,
    LSTM,
    QRNN,
    SRU,
    ConvLSTM,
    ConvSRU,
    Encoder,
    EncoderFactory,
    Recurrent,
    ResidualCNN,
    SRUpp,
)  # fmt: skip
from srulight.encoders.base import directions
from srulight.encoders.map_base import MapEncoder
from tests.export.models import in_onnxruntime

F = 5
FAST: dict[str, EncoderFactory] = {
    "SRU": partial(SRU, hidden_size=F, layer_norm="post", activation="tanh", highway_bias=-1.0),
    "SRU both ways": partial(SRU, hidden_size=4, bidirectional=True, num_layers=1),
    "SRUpp": partial(SRUpp, hidden_size=8, memory_size=2, num_heads=2, num_layers=1),
    "QRNN": partial(QRNN, hidden_size=4, kernel_size=2, num_layers=1),
    "LSTM both ways": partial(LSTM, hidden_size=4, bidirectional=True),
    "GRU": partial(GRU, hidden_size=4),
    "CNN": partial(CNN, channels=3),
}
SLOW: dict[str, EncoderFactory] = {
    "SRU 2017": partial(SRU, hidden_size=4, peephole=False, skip=False),
    "SRU pre": partial(SRU, hidden_size=6, layer_norm="pre", projection_size=3, activation="relu"),
    "SRUpp both ways": partial(SRUpp, hidden_size=8, memory_size=2, bidirectional=True),
    "SRUpp bare": partial(SRUpp, hidden_size=F, memory_size=1, peephole=False, layer_norm=False),
    "QRNN both ways": partial(QRNN, hidden_size=4, kernel_size=3, highway=True, bidirectional=True),
    "QRNN highway": partial(QRNN, hidden_size=F, kernel_size=1, highway=True),
    "LSTM": partial(LSTM, hidden_size=4),
    "GRU both ways": partial(GRU, hidden_size=4, bidirectional=True),
    "ResidualCNN": partial(ResidualCNN, channels=4, num_layers=2),
}
every = pytest.mark.parametrize(
    "make",
    [*FAST.values(), *(pytest.param(one, marks=pytest.mark.slow) for one in SLOW.values())],
    ids=[*FAST, *SLOW],
)


class Whole(nn.Module):
    """Encodes padded batches."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.encoder(x, lengths)


class Step(nn.Module):
    """Encodes steps, with a state."""

    def __init__(self, encoder: Recurrent) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.forward_with_state(x, state)


def drawn(make: EncoderFactory) -> Encoder:
    encoder = make(F).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.4)  # zeros would hide what they multiply
    return encoder


@every
def test_padded_batches_of_other_sizes(make: EncoderFactory) -> None:
    encoder = drawn(make)

    def example(sizes: dict[str, int]) -> tuple[Tensor, Tensor]:
        return torch.randn(sizes["B"], sizes["T"], F), torch.full((sizes["B"],), sizes["T"])

    run = in_onnxruntime(Whole(encoder), example, {"x": ("B", "T", F), "lengths": ("B",)})
    for lengths in ([9, 0, 4, 1, 8], [1], [2, 1], [33]):
        x = torch.randn(len(lengths), max(lengths), F)
        real = torch.tensor(lengths)
        with torch.no_grad():
            expected = encoder(x, real)
        torch.testing.assert_close(run(x, real)[0], expected, rtol=1e-4, atol=1e-5)


@every
def test_steps_equal_the_whole(make: EncoderFactory) -> None:
    encoder = drawn(make)
    if directions(encoder) != 1:
        return
    assert isinstance(encoder, Recurrent)
    with torch.no_grad():
        _, last = encoder.forward_with_state(torch.randn(8, 6, F))
    layers, width = last.size(0), last.size(2)

    def example(sizes: dict[str, int]) -> tuple[Tensor, Tensor]:
        return torch.randn(sizes["B"], 1, F), last[:, : sizes["B"]].clone()

    shapes: dict[str, tuple[str | int, ...]] = {"x": ("B", 1, F), "state": (layers, "B", width)}
    run = in_onnxruntime(Step(encoder), example, shapes)
    x = torch.randn(2, 7, F)
    with torch.no_grad():
        expected = encoder(x)
    state = torch.zeros(layers, 2, width)
    for step in range(7):
        y, state = run(x[:, step : step + 1], state)
        torch.testing.assert_close(y[:, 0], expected[:, step], rtol=1e-4, atol=1e-5)


class Last(nn.Module):
    """Encodes padded batches from a state, and returns the last state."""

    def __init__(self, encoder: SRU) -> None:
        super().__init__()
        self.layer = encoder.layers[0]

    def forward(self, x: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h, last = self.layer(x, state, lengths)
        return h, last


def test_padding_keeps_the_last_state() -> None:
    module = Last(SRU(F, 4, 1, bidirectional=True).eval())

    def example(sizes: dict[str, int]) -> tuple[Tensor, Tensor, Tensor]:
        batch = sizes["B"]
        x = torch.randn(batch, sizes["T"], F)
        return x, torch.full((batch,), sizes["T"]), torch.randn(batch, 8)

    run = in_onnxruntime(
        module, example, {"x": ("B", "T", F), "lengths": ("B",), "state": ("B", 8)}
    )
    given = torch.randn(3, 6, F), torch.tensor([6, 0, 2]), torch.randn(3, 8)
    with torch.no_grad():
        expected = module(*given)
    for one, other in zip(run(*given), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class Maps(nn.Module):
    """Encodes maps from a state."""

    def __init__(self, encoder: MapEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.forward_with_state(x, state)


@pytest.mark.parametrize("kind", [ConvSRU, ConvLSTM])
def test_maps_of_other_lengths(kind: type[ConvSRU | ConvLSTM]) -> None:
    encoder = kind(2, 3, 1, kernel_size=3).eval()
    size = 3 * 4 * 5 * (2 if kind is ConvLSTM else 1)

    def example(sizes: dict[str, int]) -> tuple[Tensor, Tensor]:
        return torch.randn(sizes["B"], sizes["T"], 2, 4, 5), torch.randn(1, sizes["B"], size)

    shapes: dict[str, tuple[str | int, ...]] = {"x": ("B", "T", 2, 4, 5), "state": (1, "B", size)}
    run = in_onnxruntime(Maps(encoder), example, shapes)
    for batch, steps in ((1, 1), (2, 9)):
        given = example({"B": batch, "T": steps})
        with torch.no_grad():
            expected = encoder.forward_with_state(*given)
        for one, other in zip(run(*given), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
