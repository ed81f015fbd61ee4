"""The public names of the package, and the text that an encoder prints as."""

from torch import Tensor

import srulight
from srulight.encoders import Encoder


def test_what_the_package_offers_is_listed() -> None:
    listed = [name for name in dir(srulight) if not name.startswith("_")]
    assert listed == [
        "CNN", "ConvLSTM", "ConvSRU", "GRU", "LSTM", "QRNN", "ResidualCNN", "SRU", "SRUpp", "load",
    ]  # fmt: skip
    assert all(getattr(srulight, name) is not None for name in listed)


def test_a_layer_shows_its_sizes() -> None:
    shown = repr(srulight.SRU(300, 128, bidirectional=True, projection_size=32))
    assert "(0): SRULayer(input_size=300, output_size=256, projection_size=32)" in shown
    assert "input_size=64" in repr(srulight.SRU(64, 32, 1))
    shown = repr(srulight.SRUpp(16, num_heads=2, memory_size=7))
    assert "(attention): BandAttention(size=32, num_heads=2, memory_size=7)" in shown
    assert "input_size=16, output_size=128, projection_size=32" in shown


def test_an_encoder_that_does_not_know_its_sizes_has_a_picture() -> None:
    class Mine(Encoder):
        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            return x

    assert repr(Mine()) == "Mine()"
