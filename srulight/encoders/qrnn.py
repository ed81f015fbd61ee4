"""Quasi-recurrent neural network (QRNN)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders.base import Recurrent, check_steps, refuse_bidirectional
from srulight.layers.masking import zero_padding
from srulight.ops import SparseProducts, SparseSettings, sparse_linear, sru
from srulight.runtime.errors import check_range


class QRNN(Recurrent):
    """A quasi-recurrent network: convolutions compute gates, and a linear recurrence pools them.

    Bradbury et al. (2017), Quasi-Recurrent Neural Networks, ICLR (arXiv 1611.01576), with
    fo-pooling. The pooling is SRU's recurrence without peephole and runs on the same kernels. With
    ``kernel_size=1`` and ``highway=true`` it is the strongest QRNN that the SRU paper compares
    with.

    Args:
        input_size: Features per input step, F.
        hidden_size: Number of units per direction.
        num_layers: Number of stacked layers.
        kernel_size: Number of steps that the gates see: the current one and those before it. At
            least 1.
        highway: Whether to add a skip connection from the input, weighted by the output gate as in
            SRU.
        bidirectional: Whether to read the sequence right to left as well. This doubles
            ``output_size``, and the encoder can no longer run step by step.
        dropout: Probability of zeroing a unit between two layers during training, from 0 to 1.
        sparse_backward: Which part of the gates' gradient the matrix products of the backward pass
            use: all of it, or its largest rows, units or elements.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 128,
        num_layers: int = 2,
        *,
        kernel_size: int = 1,
        highway: bool = False,
        bidirectional: bool = False,
        dropout: float = 0.0,
        sparse_backward: SparseSettings = SparseSettings(),
    ) -> None:
        super().__init__()
        check_range(1, hidden_size=hidden_size, num_layers=num_layers, kernel_size=kernel_size)
        check_range(0, 1, dropout=dropout)
        self.input_size = input_size
        self.output_size = hidden_size * (2 if bidirectional else 1)
        self.bidirectional = bidirectional
        self.kernel_size = kernel_size
        self.dropout = dropout
        self.layers = nn.ModuleList(
            QRNNLayer(
                input_size if i == 0 else self.output_size,
                hidden_size,
                kernel_size,
                highway,
                bidirectional,
                sparse_backward,
            )
            for i in range(num_layers)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_steps(self, x, lengths)
        if lengths is not None:
            x = zero_padding(x, lengths)
        for i, layer in enumerate(self.layers):
            x = self._drop(x, i)
            x, _ = layer(x, self._zero_history(x), None, lengths)
        return x

    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        refuse_bidirectional(self)
        check_steps(self, x)
        states = []
        for i, layer in enumerate(self.layers):
            x = self._drop(x, i)
            history, c = self._zero_history(x), None
            if state is not None:
                c, past = state[i, :, : self.output_size], state[i, :, self.output_size :]
                history = past[:, : history.shape[1:].numel()].reshape(history.shape).to(x.dtype)
            seen = torch.cat((history, x), dim=1)[:, x.size(1) :]  # the last kernel_size - 1 steps
            x, c = layer(x, history, c)
            states.append(torch.cat((c, seen.flatten(1)), dim=1))
        # The histories of the layers differ in size, so pad the states to a common size.
        width = max(s.size(1) for s in states)
        return x, torch.stack([F.pad(s, (0, width - s.size(1))) for s in states])

    def _zero_history(self, x: Tensor) -> Tensor:
        """Returns the zeros that the first window sees before step 0, (B, kernel_size - 1, F)."""
        return x.new_zeros(x.size(0), self.kernel_size - 1, x.size(2))

    def _drop(self, x: Tensor, layer: int) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if layer > 0 else x


class QRNNLayer(nn.Module):
    """One layer of ``QRNN``, with the arguments described there.

    Attributes:
        gates: One linear map per direction, from the steps in a window to the candidate, the forget
            gate, the output gate and, where a highway connects sizes that differ, the skip.
        sparse: Sparse backward products of the gates, or None.
    """

    no_bias: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        kernel_size: int,
        highway: bool,
        bidirectional: bool,
        sparse_backward: SparseSettings,
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        self.kernel_size = kernel_size
        self.bidirectional = bidirectional
        self.skips_input = highway and input_size == directions * hidden_size
        self.num_gates = 4 if highway and not self.skips_input else 3
        self.gates = nn.ModuleList(
            nn.Linear(kernel_size * input_size, self.num_gates * hidden_size)
            for _ in range(directions)
        )
        self.sparse = SparseProducts.of(sparse_backward)
        # The linear maps have biases of their own.
        self.register_buffer("no_bias", torch.zeros(2, directions * hidden_size), persistent=False)

    def forward(
        self,
        x: Tensor,
        history: Tensor,
        state: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Runs the layer.

        Args:
            x: Steps, (B, T, F), with zeros as padding.
            history: Steps before the first one, (B, kernel_size - 1, F).
            state: State before the first step, (B, D). None means zeros.
            lengths: Number of real steps in each sequence, (B,) int64. None means T for all.

        Returns:
            Outputs, (B, T, D), and the state after the last real step, (B, D).
        """
        sides = [torch.cat((history, x), dim=1)]
        if self.bidirectional:
            sides.append(torch.cat((x, torch.zeros_like(history)), dim=1))
        # (B, T, K, directions, hidden) -> (B, T, K, D)
        u = torch.stack(
            [
                self._product(gates, _windows(side, self.kernel_size))
                for gates, side in zip(self.gates, sides, strict=True)
            ],
            dim=-2,
        ).flatten(-2)
        u = torch.cat((u[:, :, :1].tanh(), u[:, :, 1:]), dim=2)
        skip = x if self.skips_input else None
        return sru(
            u, skip, None, self.no_bias, state, None, lengths, bidirectional=self.bidirectional
        )

    def _product(self, gates: nn.Module, x: Tensor) -> Tensor:
        """Computes the inputs of the gates, (B, T, K, hidden)."""
        if self.sparse is not None and isinstance(gates, nn.Linear):  # and not quantized
            u = sparse_linear(x, gates.weight, gates.bias, self.sparse)
        else:
            u = gates(x)
        return u.unflatten(-1, (self.num_gates, -1))


def _windows(x: Tensor, size: int) -> Tensor:
    """Returns the steps in each window, side by side, (B, T - size + 1, F * size)."""
    if x.size(1) < size:
        return x.new_zeros(len(x), 0, x.size(2) * size)
    return x.unfold(1, size, 1).flatten(2)
