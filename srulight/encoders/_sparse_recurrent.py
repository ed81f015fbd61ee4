"""The layers of ``torch.nn.LSTM`` and ``torch.nn.GRU``, with sparse backward products.

PyTorch's layers compute their backward pass in one operator, which hides the gradient of the gates.
Here the steps run one by one. Only two products depend on the order of the steps: that of the last
output in the forward pass, and that of its gradient in the backward pass. The other three run once
for all steps, from the gradient of the gates at all steps.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.ops import SparseProducts, sparse_linear
from srulight.ops.reference import wide
from srulight.ops.sru import autocasts, cast


class _RecurrentBias(torch.autograd.Function):
    """Repeats the bias of the recurrent product, and receives the gradient of that product.

    The steps treat the recurrent matrix as a constant. Its gradient is computed here, from the
    states ``before`` each step, (B, H), which the steps append to the list.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        weight: Tensor,
        bias: Tensor,
        size: tuple[int, int],
        before: list[Tensor],
        sparse: SparseProducts,
    ) -> Tensor:
        ctx.before, ctx.sparse = before, sparse
        ctx.save_for_backward(weight)
        return bias.expand(*size, -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (weight,) = ctx.saved_tensors
        rows = grad.reshape(-1, len(weight))
        grad_weight = None
        if ctx.needs_input_grad[0]:
            states = torch.cat(ctx.before)
            _, grad_weight = ctx.sparse(rows, states, weight, (False, True))
        return grad_weight, rows.sum(0), None, None, None


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverses the real steps of each sequence, and keeps the padding behind them.

    Args:
        x: Steps, (T, B, F).
        lengths: Number of real steps in each sequence, (B,). None means T for all.
    """
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(len(x), device=x.device).unsqueeze(1)
    index = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.gather(0, index.unsqueeze(-1).expand_as(x))


def _layer(
    x: Tensor, h: Tensor, c: Tensor | None, weights: Sequence[Tensor], sparse: SparseProducts
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Runs one layer in one direction.

    Args:
        x: Steps, (T, B, F).
        h: Output before the first step, (B, H).
        c: Cell before the first step, (B, H); None for a GRU.
        weights: The two matrices and the two biases, as in ``torch.nn.LSTM.all_weights``.
        sparse: The backward products.

    Returns:
        Outputs, (T, B, H), and the last output and cell.
    """
    w_ih, w_hh, b_ih, b_hh = weights
    before: list[Tensor] = []
    through_x = sparse_linear(x, w_ih, b_ih, sparse).unbind()
    through_h = _RecurrentBias.apply(w_hh, b_hh, x.shape[:2], before, sparse)  # type: ignore[no-untyped-call]
    constant = w_hh.detach()
    outputs = []
    for a, b in zip(through_x, through_h.unbind(), strict=True):
        before.append(h.detach())
        b = b + F.linear(h, constant)
        if c is not None:
            i, f, g, o = (a + b).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = (o.sigmoid() * c.tanh()).to(h.dtype)
        else:
            (r_x, z_x, n_x), (r_h, z_h, n_h) = a.chunk(3, -1), b.chunk(3, -1)
            z = (z_x + z_h).sigmoid()
            n = (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
            h = n + z * (h - n)
        outputs.append(h)
    return torch.stack(outputs), h, c


@torch.compiler.disable  # type: ignore[untyped-decorator]
def run(
    rnn: nn.LSTM | nn.GRU,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    lengths: Tensor | None,
    sparse: Sequence[SparseProducts],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Runs the layers of an LSTM or a GRU, with sparse backward products.

    Under ``torch.autocast`` everything but the cells has the autocast dtype.

    Args:
        rnn: The layers, which must have biases.
        x: Steps, (B, T, F), at least one.
        h0: Outputs before the first step, (L * directions, B, H). None means zeros.
        c0: Cells before the first step, as ``h0``. Unused by a GRU.
        lengths: Number of real steps in each sequence, (B,) int64. None means T for all.
        sparse: The backward products of each layer.

    Returns:
        Outputs, (B, T, directions * H), with any values as padding, and the last outputs and cells
        of each layer and direction. The cells of a GRU are None.
    """
    dtype = x.dtype
    if autocasts(x):
        dtype = torch.get_autocast_dtype(x.device.type)
    steps: Tensor = x.to(dtype).transpose(0, 1)
    zeros = steps.new_zeros(steps.size(1), rnn.hidden_size)
    directions = 2 if rnn.bidirectional else 1
    last: list[tuple[Tensor, Tensor | None]] = []
    for layer, products in enumerate(sparse):
        if layer > 0:
            steps = F.dropout(steps, rnn.dropout, rnn.training)
        sides = []
        for back in range(directions):
            row = len(last)
            h, c = (zeros if s is None else s[row] for s in (h0, c0))
            (h,), (c,) = cast(dtype, h), cast(wide(dtype), c)
            weights = cast(dtype, *rnn.all_weights[row])
            inputs = _reversed(steps, lengths) if back else steps
            cell = c if isinstance(rnn, nn.LSTM) else None
            y, h, cell = _layer(inputs, h, cell, weights, products)
            sides.append(_reversed(y, lengths) if back else y)
            last.append((h, None if cell is None else cell.to(dtype)))
        steps = torch.cat(sides, -1)
    cells = [cell for _, cell in last if cell is not None]
    y, h = steps.transpose(0, 1), torch.stack([output for output, _ in last])
    return y, h, torch.stack(cells) if cells else None
