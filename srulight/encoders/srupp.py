"""Simple recurrent unit with attention (SRU++)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders.band_attention import BandAttention
from srulight.encoders.base import PeepholeLayer, Recurrent, check_steps, refuse_bidirectional
from srulight.encoders.sru import Activation, layer_state_jacobian
from srulight.ops import ACTIVATIONS, SparseProducts, SparseSettings, sru_layer
from srulight.ops.product import product
from srulight.ops.sru import TimeParallel, time_parallel_code
from srulight.runtime.errors import check_range

# Flash attention kernels need head sizes that are multiples of this.
_HEAD = 8


class SRUpp(Recurrent):
    """SRU++: a simple recurrent unit whose matrix product reads the output of an attention layer.

    Lei (2021), When Attention Meets Fast Recurrence: Training Language Models with Reduced Compute,
    EMNLP (arXiv 2102.12459). A layer with attention projects each step to a small vector Z = W1 x.
    The queries are Z, and the keys and values are W2 Z. LayerNorm(Z + alpha * attention) then
    replaces the input of SRU's matrix product. The factor alpha, one number per layer, starts at 0.
    A layer without attention uses LayerNorm(Z). There are no position embeddings.

    A step attends to itself and to the ``memory_size`` steps before it, in training as well. The
    published code applies this limit in evaluation only; in training its steps attend to the whole
    memory and to all earlier steps of the segment. ``forward_with_state`` carries the last
    ``memory_size`` inputs of each attention layer in the state, without gradients. A sequence that
    is processed in two pieces therefore has the outputs of a single pass, but not its gradients. A
    state of zeros marks the start of a sequence.

    Args:
        input_size: Features per input step, F.
        hidden_size: Number of units per direction.
        num_layers: Number of stacked layers.
        projection_size: Number of features that attention works on, P. The default 0 means a
            quarter of the layer's output features, as in the paper, rounded up to a multiple of 8
            per head.
        num_heads: Number of attention heads. Must divide ``projection_size``.
        memory_size: Number of earlier steps that a step attends to. If ``bidirectional``, it also
            attends to as many later steps.
        attention_every: Distance between layers with attention: 1 gives attention to every layer, 2
            to the second, the fourth and so on, and a value above ``num_layers`` to none.
        bidirectional: Whether to read the sequence right to left as well. This doubles
            ``output_size``, and the encoder can no longer run step by step.
        dropout: Probability of zeroing an input of the gates' matrix product during training, from
            0 up to but not including 1. In every layer but the last it is also the probability of
            dropping the update of a unit for a whole sequence. A dropped unit outputs its skip.
        attention_dropout: Probability of zeroing an attention weight during training, from 0 up to
            but not including 1.
        activation: Function applied to the state before the reset gate: identity, tanh or relu.
        peephole: Whether the gates depend on the previous state.
        highway_bias: Initial bias of the reset gate. The lower it is, the more of the input passes
            through. The paper uses -2.
        rescale: Whether to scale the skip so that, at initialization, outputs have the variance of
            the inputs.
        layer_norm: Whether to normalize the input of the gates' matrix product.
        time_parallel: Whether to divide long sequences into chunks of time that are processed in
            parallel: true forces it, false forbids it, and auto divides them on a CPU where threads
            would be idle otherwise. The results on a CPU are the same, to the bit.
        sparse_backward: Which part of the gates' gradient the matrix products of the backward pass
            use: all of it, or its largest rows, units or elements.

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
        time_parallel: TimeParallel = "auto",
        sparse_backward: SparseSettings = SparseSettings(),
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
            raise ValueError(f"activation must be identity, tanh or relu, got {activation!r}")
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
                time_parallel=time_parallel,
                sparse_backward=sparse_backward,
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
        # The memories of the layers differ in size, so pad the states to a common size.
        width = max(s.size(1) for s in states)
        return x, torch.stack([F.pad(s, (0, width - s.size(1))) for s in states])


def _projection_size(size: int, num_heads: int, output_size: int) -> int:
    if size == 0:
        whole = _HEAD * num_heads
        return math.ceil(output_size / 4 / whole) * whole
    if size < 0 or size % num_heads:
        raise ValueError(
            f"projection_size must be 0 or a multiple of num_heads ({num_heads}), got {size}"
        )
    return size


class SRUppLayer(PeepholeLayer):
    """One layer of ``SRUpp``, with the arguments described there and its attention, or None.

    The state of a layer, (B, S), holds the state of the cell, D numbers. In a layer with attention,
    two more parts follow: the last ``memory_size`` inputs, the latest at the end, with zeros in
    place of steps before the first; and the number of them that are real. The rest is padding.

    Attributes:
        projection: W1, (P, F).
        attention: Attention with W2 and alpha, or None.
        norm: Layer normalization, or None.
        weight: W3, the stacked matrices of the candidate, the forget gate, the reset gate and,
            where the input and the output differ in size, the skip, (K * D, P).
        peephole: Vectors v of the forget gate and of the reset gate, (2, D), or None.
        bias: Biases of the forget gate and of the reset gate, (2, D).
        scale: Factor of the skip, where the skip is the input itself.
        sparse: Sparse backward products of the gates, or None.
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
        time_parallel: TimeParallel,
        sparse_backward: SparseSettings,
    ) -> None:
        super().__init__()
        time_parallel_code(time_parallel)
        self.time_parallel = time_parallel
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
        self.sparse = SparseProducts.of(sparse_backward)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weights from the distributions of the published code."""
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
            state: State before the first step, as ``remember`` returns it, (B, S). None at the
                start of the sequences.
            lengths: Number of real steps in each sequence, (B,) int64. None means T for all.

        Returns:
            Outputs, (B, T, D), and the state of the cell after the last real step, (B, D).
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
            time_parallel=self.time_parallel,
            sparse=self.sparse,
        )
        return h, last

    def remember(self, x: Tensor, state: Tensor | None, c: Tensor) -> Tensor:
        """Returns the state of the layer after some steps.

        Args:
            x: Inputs at these steps, (B, T, F).
            state: State of the layer before them, (B, S), or None.
            c: State of the cell after them, (B, D).

        Returns:
            State of the layer after them, (B, S).
        """
        if self.attention is None:
            return c
        size = self.attention.memory_size
        memory = x.detach()[:, -size:].to(c.dtype)
        count = c.new_full((x.size(0), 1), x.size(1))
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
        """Computes the input of the gates' matrix product, (B, T, P)."""
        z = product(x, self.projection)
        if self.attention is not None:
            past = count = None
            if state is not None:
                memory, count = self._memory(state)
                past = product(memory.to(x.dtype), self.projection)
            z = self.attention(z, past, count, lengths)
        if self.norm is not None:
            z = self.norm(z)
        return F.dropout(z, self.dropout, self.training)

    def _cell(self, state: Tensor | None) -> Tensor | None:
        return None if state is None else state[:, : self.bias.size(1)]

    def _memory(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the inputs in the memory, (B, M, F), and how many of them are real, (B,)."""
        assert self.attention is not None
        shape = (self.attention.memory_size, self.projection.size(1))
        start = self.bias.size(1)
        end = start + math.prod(shape)
        return state[:, start:end].detach().unflatten(1, shape), state[:, end].detach()
