"""Deep residual convolutions over time: an encoder of long sequences without recurrence."""

import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders._convolution import convolve
from srulight.encoders.base import Encoder, check_steps
from srulight.layers.masking import zero_padding
from srulight.runtime.errors import check_range


class ResidualCNN(Encoder):
    """A deep convolutional encoder of residual blocks, each with two convolutions over time.

    This is the all-convolutional encoder for CTC of Krishna et al. (2018), A Study of
    All-Convolutional Encoders for Connectionist Temporal Classification, ICASSP (arXiv 1710.10398),
    with the blocks of He et al. (2016), Identity Mappings in Deep Residual Networks, ECCV (arXiv
    1603.05027): normalization and ReLU precede each convolution, and nothing follows the sum.
    LayerNorm over the channels of a step keeps other steps and other sequences out of it.

    An output sees ``num_layers * (kernel_size // 2)`` steps on each side, and zeros beyond the ends
    of the sequence.

    Args:
        input_size: Features per input step, F.
        channels: Features per step inside the encoder and in its output.
        num_layers: Number of convolutions. Must be even, since a block has two.
        kernel_size: Width of each convolution, in steps. Must be odd.
        dropout: Probability of zeroing an output of a convolution during training, from 0 to 1.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        input_size: int,
        channels: int = 256,
        num_layers: int = 10,
        *,
        kernel_size: int = 5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_range(1, input_size=input_size, channels=channels)
        check_range(0, 1, dropout=dropout)
        if num_layers < 2 or num_layers % 2:
            raise ValueError(f"num_layers must be even and at least 2, got {num_layers}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and at least 1, got {kernel_size}")
        self.input_size = input_size
        self.output_size = channels
        self.projection = nn.Linear(input_size, channels)
        self.blocks = nn.ModuleList(
            ResidualBlock(channels, kernel_size, dropout) for _ in range(num_layers // 2)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_steps(self, x, lengths)
        x = self.projection(x)
        for block in self.blocks:
            x = x + block(x, lengths)
        x = self.norm(x)
        return x if lengths is None else zero_padding(x, lengths)


class ResidualBlock(nn.Module):
    """One block of ``ResidualCNN``: two convolutions, with the arguments described there."""

    def __init__(self, channels: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.reach = kernel_size // 2
        self.dropout = dropout
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size) for _ in range(2)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Runs the block.

        Args:
            x: Steps, (B, T, C). The values of padded steps do not matter.
            lengths: Number of real steps in each sequence, (B,) int64. None means T for all.

        Returns:
            The residual to add to ``x``, (B, T, C). The values at padded steps are arbitrary.
        """
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = norm(x).relu()
            if lengths is not None:
                x = zero_padding(x, lengths)
            padded = F.pad(x.mT, (self.reach, self.reach))  # (B, C, T + kernel_size - 1)
            # Dropout draws in memory order. A compiler would choose another layout, and other
            # draws.
            x = convolve(padded, convolution).mT.contiguous()  # (B, T, C)
            x = F.dropout(x, self.dropout, self.training)
        return x
