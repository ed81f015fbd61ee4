"""Quasi-recurrent networks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders.base import Recurrent, check_steps, refuse_bidirectional
from srulight.layers.masking import zero_padding
from srulight.ops import sru
from srulight.runtime.errors import check_range


class QRNN(Recurrent):
    """Quasi-recurrent network: convolutions make the gates, and a linear recurrence pools them.

    Bradbury et al. (2017), Quasi-Recurrent Neural Networks, ICLR (arXiv 1611.01576), fo-pooling.
    The pooling is SRU's recurrence without peephole, and runs on the same kernels. With
    ``kernel_size`` 1 and ``highway`` it is the strongest QRNN that the SRU paper compares with.

    Args:
        input_size: Features per input step, F.
        hidden_size: Units per direction.
        num_layers: Layers, each reading the one below.
        kernel_size: Steps that the gates see, this one the last of them; at least 1.
        highway: Whether the input is added to the output through the output gate, as in SRU.
        bidirectional: Also read right to left; doubles ``output_size``; such an encoder cannot be
            run step by step.
        dropout: Probability of zeroing a unit between two layers while training, 0 to 1.

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
            )
            for i in range(num_layers)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_steps(self, x, lengths)
        if lengths is not None:
            x = zero_padding(x, lengths)
        for i, layer in enumerate(self.layers):
            x = self._drop(x, i)
            x, _ = layer(x, self._nothing(x), None, lengths)
        return x

    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        refuse_bidirectional(self)
        check_steps(self, x)
        states = []
        for i, layer in enumerate(self.layers):
            x = self._drop(x, i)
            history, c = self._nothing(x), None
            if state is not None:
                c, past = state[i, :, : self.output_size], state[i, :, self.output_size :]
                history = past[:, : history.shape[1:].numel()].reshape(history.shape).to(x.dtype)
            seen = torch.cat((history, x), dim=1)[:, x.size(1) :]  # the last kernel_size - 1 steps
            x, c = layer(x, history, c)
            states.append(torch.cat((c, seen.flatten(1)), dim=1))
        # Layers remember inputs of different sizes; the state has one size.
        width = max(s.size(1) for s in states)
        return x, torch.stack([F.pad(s, (0, width - s.size(1))) for s in states])

    def _nothing(self, x: Tensor) -> Tensor:
        """Gives what a first window sees before the first step, (B, kernel_size - 1, F): zeros."""
        return x.new_zeros(x.size(0), self.kernel_size - 1, x.size(2))

    def _drop(self, x: Tensor, layer: int) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if layer > 0 else x


class QRNNLayer(nn.Module):
    """One layer of :class:`QRNN`; arguments as there.

    Attributes:
        gates: One map a direction from the steps in sight to candidate, forget, output and, where
            input and output differ in size, skip.
    """

    no_bias: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        kernel_size: int,
        highway: bool,
        bidirectional: bool,
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
        # The maps have biases of their own.
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
            x: Steps, (B, T, F), zeros where padded.
            history: Steps before the first, (B, kernel_size - 1, F).
            state: State before the first step, (B, D); None means zeros.
            lengths: Real steps of each sequence, (B,) int64; None means all T.

        Returns:
            Outputs, (B, T, D), and the state after the last real step, (B, D).
        """
        sides = [torch.cat((history, x), dim=1)]
        if self.bidirectional:
            sides.append(torch.cat((x, torch.zeros_like(history)), dim=1))
        # (B, T, K, directions, hidden) -> (B, T, K, D)
        u = torch.stack(
            [
                gates(_windows(side, self.kernel_size)).unflatten(-1, (self.num_gates, -1))
                for gates, side in zip(self.gates, sides, strict=True)
            ],
            dim=-2,
        ).flatten(-2)
        u = torch.cat((u[:, :, :1].tanh(), u[:, :, 1:]), dim=2)
        skip = x if self.skips_input else None
        return sru(
            u, skip, None, self.no_bias, state, None, lengths, bidirectional=self.bidirectional
        )


def _windows(x: Tensor, size: int) -> Tensor:
    """Gives what each window over some steps sees, (B, T - size + 1, F * size)."""
    if x.size(1) < size:
        return x.new_zeros(len(x), 0, x.size(2) * size)
    return x.unfold(1, size, 1).flatten(2)
