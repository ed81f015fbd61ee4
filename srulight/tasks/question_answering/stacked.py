"""Encoders one on top of the other, whose outputs all count."""

import torch
from torch import Tensor, nn

from srulight.encoders import EncoderFactory
from srulight.encoders.base import build_encoder
from srulight.layers.dropout import Dropout


class StackedEncoder(nn.Module):
    """Encoders one on top of the other; what comes out of each is kept.

    Chen et al. (2017), arXiv 1704.00051, section 3.2, concatenate the states of every layer. A
    Recurrent of several layers gives those of its last alone, hence one encoder a layer. Dropout
    draws once for a whole sequence (Gal and Ghahramani 2016, arXiv 1512.05287).

    Args:
        input_size: Features of a step, F.
        factory: Builds a layer for a number of features.
        num_layers: Layers, at least 1.
        dropout: Probability of zeroing a feature that goes into a layer, or comes out in the end,
            while training, 0 to 1.

    Attributes:
        output_size: Features of all layers together.

    Raises:
        ValueError: If ``num_layers`` is below 1.
    """

    def __init__(
        self, input_size: int, factory: EncoderFactory, num_layers: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"the layers of a reader must be at least 1, got {num_layers}")
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList()
        self.output_size = 0
        size = input_size
        for _ in range(num_layers):
            layer = build_encoder(factory, size)
            self.layers.append(layer)
            size = layer.output_size
            self.output_size += size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encodes a batch.

        Args:
            x: Steps, (B, T, F).
            lengths: Real steps in each sequence, (B,) int64.

        Returns:
            What comes out of every layer, (B, T, ``output_size``), zeros where padded.
        """
        outputs = []
        for layer in self.layers:
            x = layer(self._drop(x), lengths)
            outputs.append(x)
        return self._drop(torch.cat(outputs, -1))

    def _drop(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * self.dropout(x.new_ones(len(x), 1, x.size(2)))
