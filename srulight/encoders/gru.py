"""Gated recurrent unit (GRU)."""

from torch import Tensor, nn

from srulight.encoders._torch_recurrent import TorchRecurrent
from srulight.ops import SparseSettings


class GRU(TorchRecurrent):
    """A gated recurrent unit: PyTorch's ``torch.nn.GRU`` as an encoder.

    Cho et al. (2014), Learning Phrase Representations using RNN Encoder-Decoder, EMNLP. The gates
    are those of ``torch.nn.GRU``.

    Args:
        input_size: Features per input step, F.
        hidden_size: Number of units per direction.
        num_layers: Number of stacked layers.
        bidirectional: Whether to read the sequence right to left as well. This doubles
            ``output_size``, and the encoder can no longer run step by step.
        dropout: Probability of zeroing a unit between two layers during training, from 0 to 1.
        sparse_backward: Which part of the gates' gradient the matrix products of the backward pass
            use: all of it, or its largest rows, units or elements. While gradients are sparse, the
            steps run one by one in Python.
    """

    states = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 128,
        num_layers: int = 2,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        sparse_backward: SparseSettings = SparseSettings(),
    ) -> None:
        super().__init__()
        self.build(
            nn.GRU, input_size, hidden_size, num_layers, bidirectional, dropout, sparse_backward
        )

    def _continue(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.rnn(x, state)
