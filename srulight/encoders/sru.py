"""Simple recurrent unit (SRU)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from srulight.encoders.base import PeepholeLayer, Recurrent, check_steps, refuse_bidirectional
from srulight.layers.masking import valid_steps, zero_padding
from srulight.ops import (
    ACTIVATIONS,
    SparseProducts,
    SparseSettings,
    sru_layer,
    sru_stack,
    state_jacobian,
)
from srulight.ops.product import Matrix, StoredMatrix, product
from srulight.ops.sru import TimeParallel, time_parallel_code, transformed
from srulight.runtime.errors import check_range

Activation = Literal["identity", "tanh", "relu"]
LayerNorm = Literal["none", "pre", "post"]

SHORT = 64
"""Number of steps, over all sequences, up to which inference runs all layers as one operator."""


class SRU(Recurrent):
    """A simple recurrent unit: one matrix product for all steps, then an elementwise recurrence.

    Lei et al. (2018), Simple Recurrent Units for Highly Parallelizable Recurrence, EMNLP
    (arXiv 1709.02755), equations 1 to 4; section 3.2 describes the scale of the skip connection and
    the initialization. Where the input and the output of a layer differ in size, a fourth matrix
    computes the skip.

    Args:
        input_size: Features per input step, F.
        hidden_size: Number of units per direction.
        num_layers: Number of stacked layers.
        bidirectional: Whether to read the sequence right to left as well. This doubles
            ``output_size``, and the encoder can no longer run step by step.
        dropout: Probability of dropping the update of a unit during training, from 0 up to but not
            including 1, in every layer but the last. One draw holds for a whole sequence. A dropped
            unit outputs its skip.
        input_dropout: Probability of zeroing an input feature of a layer's matrix product during
            training, from 0 up to but not including 1. One draw holds for a whole sequence. The
            skip still receives the whole input.
        projection_size: Inner size of a weight matrix that is factored into two; 0 for a full
            matrix. Layers with an input or output of at most this size keep a full matrix.
        activation: Function applied to the state before the reset gate: identity, tanh or relu.
        peephole: Whether the gates depend on the previous state. Without it the cell is that of the
            paper's first version (2017), whose state follows a linear recurrence.
        skip: Whether to add a skip connection from the input, weighted by the reset gate (highway
            connection).
        highway_bias: Initial bias of the reset gate. Values below 0 favor the skip.
        rescale: Whether to scale the skip so that, at initialization, outputs have the variance of
            the inputs.
        layer_norm: Where to apply layer normalization: none, pre (to the input of the matrix
            product) or post (to the output).
        time_parallel: Whether to divide long sequences into chunks of time that are processed in
            parallel: true forces it, false forbids it, and auto divides them on a CPU where threads
            would be idle otherwise. The results on a CPU are the same, to the bit.
        sparse_backward: Which part of the gates' gradient the matrix products of the backward pass
            use: all of it, or its largest rows, units or elements.

    Raises:
        ValueError: If a size or a probability is out of range, or an option has an unknown value.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 128,
        num_layers: int = 2,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        projection_size: int = 0,
        activation: Activation = "identity",
        peephole: bool = True,
        skip: bool = True,
        highway_bias: float = 0.0,
        rescale: bool = True,
        layer_norm: LayerNorm = "none",
        time_parallel: TimeParallel = "auto",
        sparse_backward: SparseSettings = SparseSettings(),
    ) -> None:
        super().__init__()
        check_range(1, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        self.input_size = input_size
        self.output_size = hidden_size * (2 if bidirectional else 1)
        self.bidirectional = bidirectional
        self.layers = nn.ModuleList(
            SRULayer(
                input_size if i == 0 else self.output_size,
                hidden_size,
                bidirectional=bidirectional,
                dropout=dropout if i < num_layers - 1 else 0.0,
                input_dropout=input_dropout,
                projection_size=projection_size,
                activation=activation,
                peephole=peephole,
                skip=skip,
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
        if found := self._stacked(x, None, lengths):
            return found[0]
        for layer in self.layers:
            x, _ = layer(x, None, lengths)
        return x

    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        refuse_bidirectional(self)
        check_steps(self, x)
        if found := self._stacked(x, state, None):
            return found
        before = [None] * len(self.layers) if state is None else state.unbind()
        states = []
        for layer, c in zip(self.layers, before, strict=True):
            x, last = layer(x, c)
            states.append(last)
        return x, torch.stack(states)

    def _stacked(
        self, x: Tensor, state: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor] | None:
        """Runs all layers as one operator; returns None where it cannot, or would save no time."""
        if (
            torch.is_grad_enabled()
            # An exported program must not depend on the size of its example.
            or torch.compiler.is_compiling()
            or x.size(0) * x.size(1) > SHORT
            or x.is_meta  # which has no autocast
            or torch.is_autocast_enabled(x.device.type)
            or transformed()
        ):
            return None
        layers = [layer for layer in self.layers if isinstance(layer, SRULayer)]
        parts = [found for layer in layers if (found := layer.parts(x))]
        if len(parts) < len(self.layers):
            return None
        weights, peepholes, biases = zip(*parts, strict=True)
        return sru_stack(
            x,
            weights,
            () if peepholes[0] is None else peepholes,
            biases,
            state,
            lengths,
            scales=[layer.scale for layer in layers],
            skip=layers[0].skips,
            activation=layers[0].activation,
            bidirectional=self.bidirectional,
        )


class SRULayer(PeepholeLayer):
    """One layer of ``SRU``, with the arguments described there.

    Attributes:
        weight: Stacked matrices of the candidate, the forget gate, the reset gate and, where the
            input and the output differ in size, the skip, (K * D, F or projection size).
        projection: First factor of the weight, (projection size, F), or None.
        peephole: Vectors v of the forget gate and of the reset gate, (2, D), or None.
        bias: Biases of the forget gate and of the reset gate, (2, D).
        norm: Layer normalization, or None.
        scale: Factor of the skip, where the skip is the input itself.
        sparse: Sparse backward products of the gates, or None.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bidirectional: bool,
        dropout: float,
        input_dropout: float,
        projection_size: int,
        activation: Activation,
        peephole: bool,
        skip: bool,
        highway_bias: float,
        rescale: bool,
        layer_norm: LayerNorm,
        time_parallel: TimeParallel,
        sparse_backward: SparseSettings,
    ) -> None:
        super().__init__()
        check_range(0, projection_size=projection_size)
        check_range(-100, 100, highway_bias=highway_bias)
        for name, value in (("dropout", dropout), ("input_dropout", input_dropout)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        if layer_norm not in ("none", "pre", "post"):
            raise ValueError(f"layer_norm must be none, pre or post, got {layer_norm!r}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be identity, tanh or relu, got {activation!r}")
        time_parallel_code(time_parallel)
        self.time_parallel = time_parallel
        output_size = hidden_size * (2 if bidirectional else 1)
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.activation = activation
        self.highway_bias = highway_bias
        self.skips = skip
        self.skips_input = skip and input_size == output_size
        self.scale = math.sqrt(1 + 2 * math.exp(highway_bias)) if rescale and skip else 1.0
        self.num_gates = 4 if skip and input_size != output_size else 3
        inner = input_size
        if 0 < projection_size < min(input_size, output_size):
            inner = projection_size
            self.projection = nn.Parameter(torch.empty(inner, input_size))
        else:
            self.register_parameter("projection", None)
        self.weight = nn.Parameter(torch.empty(self.num_gates * output_size, inner))
        self.bias = nn.Parameter(torch.empty(2, output_size))
        if peephole:
            self.peephole = nn.Parameter(torch.empty(2, output_size))
        else:
            self.register_parameter("peephole", None)
        self.norm = None
        self.norm_first = layer_norm == "pre"
        if layer_norm != "none":
            self.norm = nn.LayerNorm(input_size if self.norm_first else output_size)
        self.sparse = SparseProducts.of(sparse_backward)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weights so that the activations keep their variance (section 3.2)."""
        self.bias.zero_()[1] = self.highway_bias
        _uniform(self.weight)
        if self.projection is not None:
            _uniform(self.projection)
        gates = self.weight.unflatten(0, (self.num_gates, -1))  # (K, D, inner)
        # Dropout scales the updates that it keeps by 1 / (1 - dropout). A smaller candidate makes
        # up for that.
        gates[0] *= math.sqrt(1 - self.dropout)
        gates *= math.sqrt(1 - self.input_dropout)
        if self.norm is not None:
            gates *= 0.1
        if self.num_gates == 4:
            gates[3] *= self.scale
        if self.peephole is not None:
            # The matrix product and the peephole term each contribute a variance of 1/2.
            gates[1:3] *= math.sqrt(0.5)
            self.peephole.uniform_(-math.sqrt(1.5), math.sqrt(1.5))

    def forward(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Runs the layer.

        Args:
            x: Steps, (B, T, F).
            state: State before the first step, (B, D). None means zeros.
            lengths: Number of real steps in each sequence, (B,) int64. None means T for all.

        Returns:
            Outputs, (B, T, D), and the state after the last real step, (B, D).
        """
        inner = self._inner(x)
        mask = None
        if self.training and self.dropout > 0:
            mask = _mask(self.bias.new_empty(len(x), self.bias.size(1)), self.dropout)
        h, last = sru_layer(
            inner,
            self.weight,
            x if self.skips_input else None,
            self.peephole,
            self.bias,
            state,
            mask,
            lengths,
            scale=self.scale,
            activation=self.activation,
            bidirectional=self.bidirectional,
            time_parallel=self.time_parallel,
            sparse=self.sparse,
        )
        if self.norm is not None and not self.norm_first:
            h = self.norm(h)
            if lengths is not None:  # the norm maps a zero to its bias
                h = zero_padding(h, lengths)
        return h, last

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor] | None:
        """Returns weight, peephole and bias of a layer that is one product and one recurrence.

        Args:
            x: Steps, (B, T, F).

        Returns:
            The tensors, or None if the layer does more, or stores or computes in another way.
        """
        own = self._parameters  # faster than attributes
        if not own.keys() >= {"projection", "peephole", "bias"}:
            return None  # one of them is stored in another form, or computed
        dtype, bias = x.dtype, own["bias"]
        weight: Tensor | None = own.get("weight")
        if isinstance(stored := self._modules.get("weight"), StoredMatrix):
            weight = stored.floats(x.size(0) * x.size(1), dtype)
        if (
            weight is None
            or bias is None
            or dtype not in (torch.float32, torch.float64)
            or not weight.dtype is bias.dtype is dtype
            or own["projection"] is not None
            or self.norm is not None
            or (self.training and (self.dropout > 0 or self.input_dropout > 0))
            or self._forward_hooks
            or self._forward_pre_hooks
        ):
            return None
        return weight, own["peephole"], bias

    def extra_repr(self) -> str:
        first = self.weight if self.projection is None else self.projection
        sizes = f"input_size={first.size(1)}, output_size={self.bias.size(1)}"
        return sizes if self.projection is None else f"{sizes}, projection_size={len(first)}"

    def state_jacobian(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor | None:
        if self.peephole is None:
            return None
        rest = (self.weight, self.peephole, self.bias, state, lengths, self.bidirectional)
        return layer_state_jacobian(self._inner(x), *rest)

    def _inner(self, x: Tensor) -> Tensor:
        """Computes the input of the gates' matrix product, (B, T, F or projection size)."""
        inner = self.norm(x) if self.norm is not None and self.norm_first else x
        if self.training and self.input_dropout > 0:
            inner = inner * _mask(inner[:, 0], self.input_dropout).unsqueeze(1)
        return inner if self.projection is None else product(inner, self.projection)


@torch.no_grad()
def layer_state_jacobian(
    inner: Tensor,
    weight: Matrix,
    v: Tensor,
    b: Tensor,
    c0: Tensor | None,
    lengths: Tensor | None,
    bidirectional: bool,
) -> Tensor:
    """Computes the result of ``PeepholeLayer.state_jacobian`` from the parts of a layer.

    Args:
        inner: Input of the gates' matrix product, (B, T, F).
        weight: Stacked matrices of the gates, (K * D, F).
        v: Peephole weights, (2, D).
        b: Biases, (2, D).
        c0: State before the first step, (B, D). None means zeros.
        lengths: Number of real steps in each sequence, (B,). None means T for all.
        bidirectional: Whether the second half of the channels reads right to left.

    Returns:
        Derivatives, (B, T, D), or (B, T, D / 2) if ``bidirectional``.
    """
    channels = b.size(1)
    part = slice(channels // 2 if bidirectional else channels)
    u = product(inner, weight).unflatten(-1, (-1, channels))  # (B, T, K, D)
    c0 = None if c0 is None else c0[:, part]
    found = state_jacobian(u[..., part], v[:, part], b[:, part], c0)
    if lengths is None:
        return found
    return torch.where(valid_steps(lengths, inner.size(1)).unsqueeze(-1), found, 1)


def _uniform(weight: Tensor) -> None:
    """Fills an (out, in) weight with uniform numbers of variance 1 / in."""
    bound = math.sqrt(3 / weight.size(1))
    weight.uniform_(-bound, bound)


def _mask(like: Tensor, dropout: float) -> Tensor:
    """Draws a mask like ``like``: 0 with probability ``dropout``, otherwise 1 / (1 - dropout)."""
    return torch.empty_like(like).bernoulli_(1 - dropout).div_(1 - dropout)
