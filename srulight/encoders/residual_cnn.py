"""Deep residual convolutions over time, the encoder of many steps without recurrence."""

import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders._convolution import convolve
from srulight.encoders.base import Encoder, check_steps
from srulight.layers.masking import zero_padding


class ResidualCNN(Encoder):
    """Deep residual convolutions over time: each block of two adds to what it is given.

    The all-convolutional encoder for CTC of Krishna et al. (2018), A Study of All-Convolutional
    Encoders for Connectionist Temporal Classification, ICASSP (arXiv 1710.10398), with the blocks
    of He et al. (2016), Identity Mappings in Deep Residual Networks, ECCV (arXiv 1603.05027): norm
    and ReLU come before a convolution, and nothing after the sum. The norm is over the channels of
    one step (LayerNorm), so that other steps and other sequences do not matter to it.

    A step sees ``num_layers * (kernel_size // 2)`` steps to each side, and zeros beyond the
    sequence.

    Args:
        input_size: Features per input step, F.
        channels: Features per output step, and of all in between.
        num_layers: Convolutions, two a block; even.
        kernel_size: Steps that a convolution sees, the one in the middle among them; odd.
        dropout: Probability of zeroing an output of a convolution while training, 0 to 1.

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
        for name, size in (("input_size", input_size), ("channels", channels)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if num_layers < 2 or num_layers % 2:
            raise ValueError(f"num_layers must be even, two to a block, got {num_layers}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be 0 to 1, got {dropout}")
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
    """Two convolutions of :class:`ResidualCNN`; arguments as there."""

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
            x: Steps, (B, T, C), anything where padded.
            lengths: Real steps of each sequence, (B,) int64; None means all T.

        Returns:
            What to add to the steps, (B, T, C), anything where padded.
        """
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = norm(x).relu()
            if lengths is not None:
                x = zero_padding(x, lengths)
            padded = F.pad(x.mT, (self.reach, self.reach))  # (B, C, T + kernel_size - 1)
            # Dropout draws in the order of memory, which a compiler would choose otherwise.
            x = convolve(padded, convolution).mT.contiguous()  # (B, T, C)
            x = F.dropout(x, self.dropout, self.training)
        return x
