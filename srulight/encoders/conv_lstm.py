"""Convolutional LSTM, the recurrent baseline for sequences of maps."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders._exported_conv_lstm import conv_lstm_steps
from srulight.encoders.map_base import (
    MapEncoder,
    channel_mask,
    check_dropout,
    check_kernel_size,
    check_maps,
    check_state,
    zero_padded_maps,
)
from srulight.ops.sru import is_exporting
from srulight.runtime.errors import check_range


class ConvLSTM(MapEncoder):
    """A convolutional LSTM, whose gates are convolutions of the input and of the last output.

    Shi et al. (2015), Convolutional LSTM Network, NIPS (arXiv 1506.04214), equation 3, without the
    peephole terms, as in LSTM Pose Machines (Luo et al. 2018, arXiv 1712.06316).

    Args:
        input_size: Features at each place of an input map, F.
        hidden_size: Features at each place of an output map, H.
        num_layers: Number of stacked layers.
        kernel_size: Height and width of the kernels, an odd number.
        dropout: Probability of zeroing a channel between two layers during training, from 0 up to
            but not including 1. One draw holds for all places and steps of a sequence.

    Raises:
        ValueError: If a size or a probability is out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 32,
        num_layers: int = 1,
        *,
        kernel_size: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_range(1, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_dropout(dropout)
        self.input_size = input_size
        self.output_size = hidden_size
        self.dropout = dropout
        self.layers = nn.ModuleList(
            ConvLSTMLayer(input_size if i == 0 else hidden_size, hidden_size, kernel_size)
            for i in range(num_layers)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_maps(self, x, lengths)
        # A causal layer never sees the padding, which follows the real steps.
        y, _ = self._run(x, None)
        return y if lengths is None else zero_padded_maps(y, lengths)

    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_maps(self, x)
        check_state(state, len(self.layers), x, 2 * self.output_size)
        return self._run(x, state)

    def _run(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        before = [None] * len(self.layers) if state is None else state.unbind()
        states = []
        for i, (layer, own) in enumerate(zip(self.layers, before, strict=True)):
            if i > 0 and self.training and self.dropout > 0:
                mask = channel_mask(x, self.output_size, self.dropout).to(x)
                x = x * mask[:, None, :, None, None]
            x, last = layer(x, own)
            states.append(last)
        return x, torch.stack(states)


class ConvLSTMLayer(nn.Module):
    """One layer of ``ConvLSTM``.

    Args:
        input_size: Features at each place of an input map, F.
        hidden_size: Features at each place of an output map, H.
        kernel_size: Height and width of the kernels, an odd number.

    Attributes:
        weight: Kernels of the input for the input gate, the forget gate, the candidate and the
            output gate, (4 * H, F, kernel size, kernel size).
        recurrent_weight: Kernels of the last output, (4 * H, H, kernel size, kernel size).
        bias: Biases, (4 * H,).
    """

    def __init__(self, input_size: int, hidden_size: int, kernel_size: int) -> None:
        super().__init__()
        check_kernel_size(kernel_size)
        kernel = (kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(4 * hidden_size, input_size, *kernel))
        self.recurrent_weight = nn.Parameter(torch.empty(4 * hidden_size, hidden_size, *kernel))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weights as ``torch.nn.LSTM`` does, by the number of inputs of the state."""
        bound = 1 / math.sqrt(self.recurrent_weight[0].numel())
        for parameter in self.parameters():
            parameter.uniform_(-bound, bound)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Runs the layer.

        Args:
            x: Maps, (B, T, F, h, w).
            state: Output and cell before the first step, (B, 2 * H * h * w). None means zeros.

        Returns:
            Outputs, (B, T, H, h, w), and the output and the cell after the last step, (B, 2 * H *
            h * w).
        """
        batch, _, _, height, width = x.shape
        # All steps at once: only the last output has to wait.
        inputs = F.conv2d(x.flatten(0, 1), self.weight, self.bias, padding="same")
        inputs = inputs.unflatten(0, x.shape[:2])
        size = self.recurrent_weight.size(1)
        if state is None:
            state = inputs.new_zeros(batch, 2 * size * height * width)
        h, c = state.view(batch, 2, size, height, width).unbind(1)
        run = torch.ops.srulight.conv_lstm.default if is_exporting() else conv_lstm_steps
        y, h, c = run(inputs, h, c, self.recurrent_weight)
        return y, torch.stack((h, c), 1).flatten(1)

    def extra_repr(self) -> str:
        height, width = self.weight.shape[2:]
        sizes = f"input_size={self.weight.size(1)}, output_size={self.recurrent_weight.size(1)}"
        return f"{sizes}, kernel_size={height}x{width}"
