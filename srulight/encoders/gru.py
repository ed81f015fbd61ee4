"""Gated recurrent units."""

from torch import Tensor, nn

from srulight.encoders._torch_recurrent import TorchRecurrent


class GRU(TorchRecurrent):
    """PyTorch's GRU behind the encoder interface.

    Cho et al. (2014), Learning Phrase Representations using RNN Encoder-Decoder, EMNLP; gates as
    in torch.nn.GRU.

    Args:
        input_size: Features per input step, F.
        hidden_size: Units per direction.
        num_layers: Layers, each reading the one below.
        bidirectional: Also read right to left; doubles ``output_size``; such an encoder cannot be
            run step by step.
        dropout: Probability of zeroing a unit between two layers while training, 0 to 1.
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
    ) -> None:
        super().__init__()
        self.build(nn.GRU, input_size, hidden_size, num_layers, bidirectional, dropout)

    def _continue(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.rnn(x, state)
