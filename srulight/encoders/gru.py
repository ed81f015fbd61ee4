"""Gated recurrent units."""

from torch import Tensor, nn

from srulight.encoders._padded import encode_padded, nothing
from srulight.encoders.base import Recurrent, check_steps, refuse_to_resume


class GRU(Recurrent):
    """PyTorch's GRU behind the encoder interface.

    Cho et al. (2014), Learning Phrase Representations using RNN Encoder-Decoder, EMNLP; gates as
    in torch.nn.GRU.

    Args:
        input_size: Features per input step, F.
        hidden_size: Units per direction.
        num_layers: Layers, each reading the one below.
        bidirectional: Also read right to left; doubles ``output_size``; such an encoder cannot
            ``resume``.
        dropout: Probability of zeroing a unit between two layers while training, 0 to 1.
    """

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
        self.input_size = input_size
        self.output_size = hidden_size * (2 if bidirectional else 1)
        self.bidirectional = bidirectional
        self.gru = nn.GRU(
            input_size,
            hidden_size,
            num_layers,
            dropout=dropout if num_layers > 1 else 0.0,
            bidirectional=bidirectional,
            batch_first=True,
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_steps(self, x, lengths)
        return encode_padded(self.gru, x, lengths)

    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        refuse_to_resume(self)
        check_steps(self, x)
        if x.size(1) == 0:
            return nothing(self.gru, x, state, self.gru.hidden_size)
        return self.gru(x, state)
