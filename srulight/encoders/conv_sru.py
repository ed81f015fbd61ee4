"""Convolutional SRU: an SRU at each place of a map, whose gates are convolutions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders.map_base import (
    MapEncoder,
    channel_mask,
    check_dropout,
    check_kernel_size,
    check_maps,
    check_state,
)
from srulight.encoders.sru import Activation
from srulight.ops import ACTIVATIONS, sru
from srulight.runtime.errors import check_range


class ConvSRU(MapEncoder):
    """A convolutional SRU: one convolution for all maps, then an elementwise recurrence.

    Lei et al. (2018), Simple Recurrent Units for Highly Parallelizable Recurrence, EMNLP
    (arXiv 1709.02755), equations 1 to 4, with convolutions in place of the matrix products. The
    gates depend on the input alone, so that a layer convolves the maps of all steps at once; a
    convolutional LSTM also convolves its last output, and waits for each step. The recurrence
    takes place at each place of the map. Peephole weights and biases are shared by all places. If
    the input and the output of a layer differ in size, a fourth convolution computes the skip.

    Args:
        input_size: Features at each place of an input map, F.
        hidden_size: Features at each place of an output map, H.
        num_layers: Number of stacked layers.
        kernel_size: Height and width of the kernels, an odd number. With 1, each place has an SRU
            of its own, whose weights all places share.
        dropout: Probability of dropping the update of a channel during training, from 0 up to but
            not including 1, in every layer but the last. One draw holds for all places and steps of
            a sequence. A dropped channel outputs its skip.
        activation: Function applied to the state before the reset gate: identity, tanh or relu.
        peephole: Whether the gates depend on the previous state.
        skip: Whether to add a skip connection from the input, weighted by the reset gate (highway
            connection).
        highway_bias: Initial bias of the reset gate. Values below 0 favor the skip.
        rescale: Whether to scale the skip so that, at initialization, outputs have the variance of
            the inputs.

    Raises:
        ValueError: If a size or a probability is out of range, or an option has an unknown value.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 32,
        num_layers: int = 1,
        *,
        kernel_size: int = 3,
        dropout: float = 0.0,
        activation: Activation = "identity",
        peephole: bool = True,
        skip: bool = True,
        highway_bias: float = 0.0,
        rescale: bool = True,
    ) -> None:
        super().__init__()
        check_range(1, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        self.input_size = input_size
        self.output_size = hidden_size
        self.layers = nn.ModuleList(
            ConvSRULayer(
                input_size if i == 0 else hidden_size,
                hidden_size,
                kernel_size=kernel_size,
                dropout=dropout if i < num_layers - 1 else 0.0,
                activation=activation,
                peephole=peephole,
                skip=skip,
                highway_bias=highway_bias,
                rescale=rescale,
            )
            for i in range(num_layers)
        )
        check_dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_maps(self, x, lengths)
        for layer in self.layers:
            x, _ = layer(x, None, lengths)
        return x

    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_maps(self, x)
        check_state(state, len(self.layers), x, self.output_size)
        before = [None] * len(self.layers) if state is None else state.unbind()
        states = []
        for layer, c in zip(self.layers, before, strict=True):
            x, last = layer(x, c)
            states.append(last)
        return x, torch.stack(states)


class ConvSRULayer(nn.Module):
    """One layer of ``ConvSRU``, with the arguments described there.

    Attributes:
        weight: Stacked kernels of the candidate, the forget gate, the reset gate and, where the
            input and the output differ in size, the skip, (K * H, F, kernel size, kernel size).
        peephole: Weights v of the forget gate and of the reset gate, (2, H), or None.
        bias: Biases of the forget gate and of the reset gate, (2, H).
        scale: Factor of the skip, where the skip is the input itself.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        kernel_size: int,
        dropout: float,
        activation: Activation,
        peephole: bool,
        skip: bool,
        highway_bias: float,
        rescale: bool,
    ) -> None:
        super().__init__()
        check_kernel_size(kernel_size)
        check_range(-100, 100, highway_bias=highway_bias)
        check_dropout(dropout)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be identity, tanh or relu, got {activation!r}")
        self.dropout = dropout
        self.activation = activation
        self.highway_bias = highway_bias
        self.skips_input = skip and input_size == hidden_size
        self.scale = math.sqrt(1 + 2 * math.exp(highway_bias)) if rescale and skip else 1.0
        self.num_gates = 4 if skip and input_size != hidden_size else 3
        self.weight = nn.Parameter(
            torch.empty(self.num_gates * hidden_size, input_size, kernel_size, kernel_size)
        )
        self.bias = nn.Parameter(torch.empty(2, hidden_size))
        if peephole:
            self.peephole = nn.Parameter(torch.empty(2, hidden_size))
        else:
            self.register_parameter("peephole", None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weights so that the activations keep their variance, as in ``SRULayer``."""
        self.bias.zero_()[1] = self.highway_bias
        bound = math.sqrt(3 / self.weight[0].numel())
        self.weight.uniform_(-bound, bound)
        gates = self.weight.unflatten(0, (self.num_gates, -1))
        # Dropout scales the updates that it keeps by 1 / (1 - dropout). A smaller candidate makes
        # up for that.
        gates[0] *= math.sqrt(1 - self.dropout)
        if self.num_gates == 4:
            gates[3] *= self.scale
        if self.peephole is not None:
            # The convolution and the peephole term each contribute a variance of 1/2.
            gates[1:3] *= math.sqrt(0.5)
            self.peephole.uniform_(-math.sqrt(1.5), math.sqrt(1.5))

    def forward(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Runs the layer.

        Args:
            x: Maps, (B, T, F, h, w).
            state: State before the first step, (B, H * h * w). None means zeros.
            lengths: Number of real steps in each sequence, (B,) int64. None means T for all.

        Returns:
            Outputs, (B, T, H, h, w), and the state after the last real step, (B, H * h * w).
        """
        batch, steps, _, height, width = x.shape
        places = height * width
        u = F.conv2d(x.flatten(0, 1), self.weight, padding="same")
        channels = self.bias.size(1) * places
        mask = None
        if self.training and self.dropout > 0:
            mask = channel_mask(x, self.bias.size(1), self.dropout)
            mask = mask.repeat_interleave(places, 1)
        h, last = sru(
            u.view(batch, steps, self.num_gates, channels),
            x.reshape(batch, steps, channels) if self.skips_input else None,
            None if self.peephole is None else self.peephole.repeat_interleave(places, 1),
            self.bias.repeat_interleave(places, 1),
            state,
            mask,
            lengths,
            scale=self.scale,
            activation=self.activation,
        )
        return h.view(batch, steps, self.bias.size(1), height, width), last

    def extra_repr(self) -> str:
        height, width = self.weight.shape[2:]
        sizes = f"input_size={self.weight.size(1)}, output_size={self.bias.size(1)}"
        return f"{sizes}, kernel_size={height}x{width}"
