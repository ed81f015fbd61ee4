"""Simple recurrent units with attention (SRU++)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders.band_attention import BandAttention
from srulight.encoders.base import PeepholeLayer, Recurrent, check_steps, refuse_bidirectional
from srulight.encoders.sru import Activation, layer_state_jacobian
from srulight.ops import ACTIVATIONS, sru_layer
from srulight.runtime.errors import check_range

# Flash kernels want heads of a multiple of this size.
_HEAD = 8


class SRUpp(Recurrent):
    """SRU++: a simple recurrent unit whose gates see, through attention, what lies further back.

    Lei (2021), When Attention Meets Fast Recurrence: Training Language Models with Reduced Compute,
    EMNLP (arXiv 2102.12459). In a layer with attention Z = W1 x is a small vector of each step,
    queries are Z, keys and values W2 Z, and LayerNorm(Z + alpha * attention) takes the place of the
    input in SRU's matrix product; alpha, one number a layer, starts as 0. A layer without is
    LayerNorm(Z) alone. There is no encoding of positions.

    A step attends to itself and to the ``memory_size`` steps before it, in training too; the
    published code has this limit in evaluation only, and trains with all of the segment before.
    ``forward_with_state`` carries the last ``memory_size`` inputs of each layer with attention in
    the state. No gradient flows into the steps they came from, even within one graph: split in two,
    a sequence has the outputs of one pass, and other gradients. A state of zeros is the start of a
    sequence.

    Args:
        input_size: Features per input step, F.
        hidden_size: Units per direction.
        num_layers: Layers, each reading the one below.
        projection_size: Features that attention works on, P; 0 for a quarter of a layer's outputs,
            as in the paper, rounded up to a multiple of 8 for each head.
        num_heads: Attention heads; they share ``projection_size``.
        memory_size: Steps that a step attends to besides itself, before it and, if
            ``bidirectional``, as many after it.
        attention_every: Which layers have attention: 1 for all, 2 for the second, fourth and so on;
            more than ``num_layers`` for none.
        bidirectional: Also read right to left; doubles ``output_size``; such an encoder cannot be
            run step by step.
        dropout: Probability of zeroing an input of the gates' matrix product while training, 0 to
            1; and in every layer but the last of dropping a unit's update, one draw for a whole
            sequence: a dropped unit passes the skip on.
        attention_dropout: Probability of zeroing an attention weight while training, 0 to 1.
        activation: Function of the state before the output gate: identity, tanh or relu.
        peephole: Whether the gates see the last state.
        highway_bias: Initial bias of the reset gate; the lower, the more of the input passes
            through. The paper's is -2.
        rescale: Whether the skip is scaled up to keep the variance of the input.
        layer_norm: Whether the input of the gates' matrix product is normalised.

    Raises:
        ValueError: If a size or probability is out of range, or ``num_heads`` does not divide
            ``projection_size``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 128,
        num_layers: int = 2,
        *,
        projection_size: int = 0,
        num_heads: int = 1,
        memory_size: int = 512,
        attention_every: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation: Activation = "identity",
        peephole: bool = True,
        highway_bias: float = -2.0,
        rescale: bool = False,
        layer_norm: bool = True,
    ) -> None:
        super().__init__()
        check_range(
            1, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers,
            num_heads=num_heads, memory_size=memory_size, attention_every=attention_every,
        )  # fmt: skip
        check_range(-100, 100, highway_bias=highway_bias)
        for name, value in (("dropout", dropout), ("attention_dropout", attention_dropout)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be identity, tanh or relu, got {activation}")
        self.input_size = input_size
        self.output_size = hidden_size * (2 if bidirectional else 1)
        self.bidirectional = bidirectional
        projection_size = _projection_size(projection_size, num_heads, self.output_size)
        self.layers = nn.ModuleList(
            SRUppLayer(
                input_size if i == 0 else self.output_size,
                hidden_size,
                projection_size,
                BandAttention(
                    projection_size, num_heads, memory_size, bidirectional, attention_dropout
                )
                if (i + 1) % attention_every == 0
                else None,
                bidirectional=bidirectional,
                dropout=dropout,
                cell_dropout=dropout if i < num_layers - 1 else 0.0,
                activation=activation,
                peephole=peephole,
                highway_bias=highway_bias,
                rescale=rescale,
                layer_norm=layer_norm,
            )
            for i in range(num_layers)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_steps(self, x, lengths)
        for layer in self.layers:
            x, _ = layer(x, None, lengths)
        return x

    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        refuse_bidirectional(self)
        check_steps(self, x)
        before = [None] * len(self.layers) if state is None else state.unbind()
        states = []
        for layer, old in zip(self.layers, before, strict=True):
            y, c = layer(x, old)
            states.append(layer.remember(x, old, c))  # type: ignore[operator]
            x = y
        # Layers remember inputs of different sizes, or none; the state has one size.
        width = max(s.size(1) for s in states)
        return x, torch.stack([F.pad(s, (0, width - s.size(1))) for s in states])


def _projection_size(size: int, num_heads: int, output_size: int) -> int:
    if size == 0:
        whole = _HEAD * num_heads
        return math.ceil(output_size / 4 / whole) * whole
    if size < 0 or size % num_heads:
        raise ValueError(
            f"projection_size must be 0 or a multiple of num_heads, {num_heads}, got {size}"
        )
    return size


class SRUppLayer(PeepholeLayer):
    """One layer of :class:`SRUpp`; arguments as there, and its attention or None.

    A state of the layer, (B, S), is, one after the other, the cell's state, D, and with attention
    the memory, the last ``memory_size`` inputs with the latest at the end, zeros before the first,
    and how many of them are real. What follows is padding.

    Attributes:
        projection: W1, (P, F).
        attention: W2 and alpha, or None.
        norm: Layer normalisation, or None.
        weight: W3, matrices of the gates one below the other, (K * D, P): candidate, forget, reset
            and, where input and output differ in size, skip.
        peephole: v of the forget and of the reset gate, (2, D), or None.
        bias: Biases of the forget and of the reset gate, (2, D).
        scale: Factor of the skip where it is the input itself.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        projection_size: int,
        attention: "BandAttention | None",
        *,
        bidirectional: bool,
        dropout: float,
        cell_dropout: float,
        activation: Activation,
        peephole: bool,
        highway_bias: float,
        rescale: bool,
        layer_norm: bool,
    ) -> None:
        super().__init__()
        output_size = hidden_size * (2 if bidirectional else 1)
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.cell_dropout = cell_dropout
        self.activation = activation
        self.highway_bias = highway_bias
        self.skips_input = input_size == output_size
        self.scale = math.sqrt(1 + 2 * math.exp(highway_bias)) if rescale else 1.0
        self.projection = nn.Parameter(torch.empty(projection_size, input_size))
        self.attention = attention
        self.norm = nn.LayerNorm(projection_size) if layer_norm else None
        num_gates = 3 if self.skips_input else 4
        self.weight = nn.Parameter(torch.empty(num_gates * output_size, projection_size))
        self.bias = nn.Parameter(torch.empty(2, output_size))
        if peephole:
            self.peephole = nn.Parameter(torch.empty(2, output_size))
        else:
            self.register_parameter("peephole", None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weights as the published code does."""
        self.bias.zero_()[1] = self.highway_bias
        nn.init.xavier_uniform_(self.projection)
        nn.init.xavier_uniform_(self.weight).mul_(math.sqrt(1 - self.dropout))
        if self.peephole is not None:
            self.peephole.uniform_(-1, 1)

    def forward(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Runs the layer.

        Args:
            x: Steps, (B, T, F).
            state: What :meth:`remember` returned before the first step, (B, S); None at the start.
            lengths: Real steps of each sequence, (B,) int64; None means all T.

        Returns:
            Outputs, (B, T, D), and the cell's state after the last real step, (B, D).
        """
        mask = None
        if self.training and self.cell_dropout > 0:
            mask = F.dropout(self.bias.new_ones(len(x), self.bias.size(1)), self.cell_dropout)
        h, last = sru_layer(
            self._inner(x, state, lengths),
            self.weight,
            x if self.skips_input else None,
            self.peephole,
            self.bias,
            self._cell(state),
            mask,
            lengths,
            scale=self.scale,
            activation=self.activation,
            bidirectional=self.bidirectional,
        )
        return h, last

    def remember(self, x: Tensor, state: Tensor | None, c: Tensor) -> Tensor:
        """Gives the state after some steps.

        Args:
            x: The steps, (B, T, F).
            state: The state before them, (B, S), or None.
            c: The cell's state after them, (B, D).

        Returns:
            The state, (B, S).
        """
        if self.attention is None:
            return c
        size = self.attention.memory_size
        memory = x.detach()[:, -size:].to(c.dtype)
        count = c.new_full((len(x), 1), x.size(1))
        missing = size - memory.size(1)
        if state is not None:
            older, old_count = self._memory(state)
            count = count + old_count.unsqueeze(1)
            memory = torch.cat((older[:, size - missing :], memory), dim=1)
        elif missing > 0:
            memory = F.pad(memory, (0, 0, missing, 0))
        return torch.cat((c, memory.flatten(1), count.clamp(max=size)), dim=1)

    def extra_repr(self) -> str:
        inner, outer = self.projection.shape
        return f"input_size={outer}, output_size={self.bias.size(1)}, projection_size={inner}"

    def state_jacobian(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor | None:
        if self.peephole is None:
            return None
        rest = (self.weight, self.peephole, self.bias, self._cell(state), lengths)
        return layer_state_jacobian(self._inner(x, state, lengths), *rest, self.bidirectional)

    def _inner(self, x: Tensor, state: Tensor | None, lengths: Tensor | None) -> Tensor:
        """Makes the input of the gates' product, (B, T, P)."""
        z = F.linear(x, self.projection)
        if self.attention is not None:
            past = count = None
            if state is not None:
                memory, count = self._memory(state)
                past = F.linear(memory.to(x.dtype), self.projection)
            z = self.attention(z, past, count, lengths)
        if self.norm is not None:
            z = self.norm(z)
        return F.dropout(z, self.dropout, self.training)

    def _cell(self, state: Tensor | None) -> Tensor | None:
        return None if state is None else state[:, : self.bias.size(1)]

    def _memory(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Gives the inputs remembered, (B, M, F), and how many of them are real, (B,)."""
        assert self.attention is not None
        shape = (self.attention.memory_size, self.projection.size(1))
        start = self.bias.size(1)
        end = start + math.prod(shape)
        return state[:, start:end].detach().unflatten(1, shape), state[:, end].detach()
