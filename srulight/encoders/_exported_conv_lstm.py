"""An operator for the recurrence of a convolutional LSTM, which only exported programs contain.

``torch.export`` would unroll the loop over the steps into the number of steps of its example.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

torch.library.define(
    "srulight::conv_lstm",
    "(Tensor inputs, Tensor h0, Tensor c0, Tensor weight) -> (Tensor y, Tensor h, Tensor c)",
)


def conv_lstm_steps(
    inputs: Tensor, h: Tensor, c: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs the recurrence of a layer step by step.

    Args:
        inputs: Convolved inputs of the input gate, the forget gate, the candidate and the output
            gate, biases included, (B, T, 4 * H, h, w).
        h: Output before the first step, (B, H, h, w).
        c: Cell before the first step, (B, H, h, w).
        weight: Kernels of the last output, (4 * H, H, kernel size, kernel size).

    Returns:
        Outputs, (B, T, H, h, w), and the output and the cell after the last step, (B, H, h, w).
    """
    outputs = []
    for step in inputs.unbind(1):
        gates = step + F.conv2d(h.to(inputs.dtype), weight, padding="same")
        i, f, g, o = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    y = torch.stack(outputs, 1) if outputs else inputs[:, :, : weight.size(1)]
    return y, h, c


def _run(inputs: Tensor, h0: Tensor, c0: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y, h, c = conv_lstm_steps(inputs, h0, c0, weight)
    # An output of an operator must not be one of its inputs.
    return y.contiguous(), h.clone(), c.clone()


def _fake(inputs: Tensor, h0: Tensor, c0: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    batch, steps, _, height, width = inputs.shape
    y = inputs.new_empty(batch, steps, weight.size(1), height, width)
    return y, torch.empty_like(h0), torch.empty_like(c0)


torch.library.impl("srulight::conv_lstm", "CompositeExplicitAutograd", _run)
torch.library.register_fake("srulight::conv_lstm", _fake)
