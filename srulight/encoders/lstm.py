"""Long short-term memory (LSTM), the recurrent baseline."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders._torch_recurrent import TorchRecurrent
from srulight.ops import SparseSettings


class LSTM(TorchRecurrent):
    """A long short-term memory: PyTorch's ``torch.nn.LSTM`` as an encoder.

    Hochreiter and Schmidhuber (1997), Long Short-Term Memory, Neural Computation 9(8). The gates
    are those of ``torch.nn.LSTM``.

    Args:
        input_size: Features per input step, F.
        hidden_size: Number of units per direction.
        num_layers: Number of stacked layers.
        bidirectional: Whether to read the sequence right to left as well. This doubles
            ``output_size``, and the encoder can no longer run step by step.
        dropout: Probability of zeroing a unit between two layers during training, from 0 to 1.
        sparse_backward: Which part of the gates' gradient the matrix products of the backward pass
            use: all of it, or its largest rows, units or elements. While gradients are sparse, the
            steps run one by one in Python.
    """

    states = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 128,
        num_layers: int = 2,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        sparse_backward: SparseSettings = SparseSettings(),
    ) -> None:
        super().__init__()
        self.build(
            nn.LSTM, input_size, hidden_size, num_layers, bidirectional, dropout, sparse_backward
        )

    def _continue(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        before = None
        if state is not None:
            h, c = state.chunk(2, dim=-1)
            before = (h.contiguous(), c.contiguous())
        # oneDNN repacks the weights in every call, which takes longer than a single step.
        step = x.size(1) == 1 and x.device.type == "cpu" and not torch.is_grad_enabled()
        is_float = isinstance(self.rnn, nn.LSTM)  # not quantized
        if before is not None and step and is_float and not torch.is_autocast_enabled("cpu"):
            return self._step(x[:, 0], *before)
        y, (h, c) = self.rnn(x, before)
        return y, torch.cat((h, c), dim=-1)

    def _step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Runs one step, (B, F), from the states h and c, (L, B, H), layer by layer."""
        states = []
        for i, weights in enumerate(self.rnn.all_weights):
            if i > 0:
                x = F.dropout(x, self.rnn.dropout, self.training)
            x, last = torch.lstm_cell(x, (h[i], c[i]), *weights)
            states.append(torch.cat((x, last), dim=-1))
        return x.unsqueeze(1), torch.stack(states)
