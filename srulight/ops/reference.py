"""The SRU recurrence in plain PyTorch: the definition that every kernel equals.

Lei et al. (2018), Simple Recurrent Units for Highly Parallelizable Recurrence, EMNLP
(arXiv 1709.02755), equations 1 to 4. Shapes and meanings of the arguments: ``srulight.ops.sru``.
"""

import torch
from torch import Tensor

from srulight.masking import valid_steps

ACTIVATIONS = ("identity", "tanh", "relu")


def wide(dtype: torch.dtype) -> torch.dtype:
    """Gives the type that states and sums of ``dtype`` are kept in: float32 for half types."""
    return torch.float32 if dtype.itemsize < 4 else dtype


def _activate(c: Tensor, activation: int) -> Tensor:
    return (lambda c: c, torch.tanh, torch.relu)[activation](c)


def _slope(c: Tensor, activation: int) -> Tensor:
    if activation == 1:
        return 1 - torch.tanh(c) ** 2
    return torch.ones_like(c) if activation == 0 else (c > 0).to(c.dtype)


def _inputs(
    u: Tensor, x: Tensor | None, v: Tensor | None, mask: Tensor | None, scale: float
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Widens everything and fills what is absent: gates, skip, v and mask."""
    dtype = wide(u.dtype)
    gates = list(u.to(dtype).unbind(2))
    if len(gates) == 4:
        skip = gates.pop()
    else:
        skip = torch.zeros_like(gates[0]) if x is None else x.to(dtype) * scale
    batch, _, channels = skip.shape
    v = skip.new_zeros(2, channels) if v is None else v
    mask = skip.new_ones(batch, channels) if mask is None else mask
    return gates, skip, v, mask


def _directions(steps: int, channels: int, bidirectional: bool) -> list[tuple[range, slice]]:
    """Order of the steps, and the channels, of each direction."""
    if not bidirectional:
        return [(range(steps), slice(channels))]
    half = channels // 2
    return [(range(steps), slice(half)), (range(steps - 1, -1, -1), slice(half, None))]


def sru(
    u: Tensor,
    x: Tensor | None,
    v: Tensor | None,
    b: Tensor,
    c0: Tensor | None,
    mask: Tensor | None,
    lengths: Tensor | None,
    scale: float,
    activation: int,
    bidirectional: bool,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs the recurrence; differentiable.

    Returns:
        Outputs (B, T, D); states after the last real step, (B, D); states after each step,
        (B, T, D), or (0, T, D) unless ``save``.
    """
    batch, steps, _, channels = u.shape
    gates, skip, v, mask = _inputs(u, x, v, mask, scale)
    valid = None if lengths is None else valid_steps(lengths, steps)
    outputs: list[Tensor] = []
    lasts: list[Tensor] = []
    states: list[Tensor] = []
    for order, part in _directions(steps, channels, bidirectional):
        candidate, forget, reset = (gate[..., part] for gate in gates)
        c = skip.new_zeros(batch, channels)[:, part] if c0 is None else c0[:, part]
        h_of: dict[int, Tensor] = {}
        c_of: dict[int, Tensor] = {}
        for t in order:
            f = torch.sigmoid(forget[:, t] + v[0, part] * c + b[0, part])
            r = torch.sigmoid(reset[:, t] + v[1, part] * c + b[1, part])
            new = f * c + (1 - f) * candidate[:, t]
            xt = skip[:, t, part]
            h = xt + mask[:, part] * r * (_activate(new, activation) - xt)
            if valid is not None:
                real = valid[:, t].unsqueeze(-1)
                h, new = torch.where(real, h, 0), torch.where(real, new, c)
            h_of[t], c_of[t], c = h, new, new
        for all_steps, of in ((outputs, h_of), (states, c_of)):
            all_steps.append(
                torch.stack([of[t] for t in range(steps)], 1) if steps else skip[..., part]
            )
        lasts.append(c)
    saved = torch.cat(states, -1) if save else u.new_empty(0, steps, channels)
    return (
        torch.cat(outputs, -1).to(u.dtype),
        torch.cat(lasts, -1).clone(),  # never an alias of c0
        saved.to(u.dtype),
    )


def sru_backward(
    u: Tensor,
    x: Tensor | None,
    v: Tensor | None,
    b: Tensor,
    c0: Tensor | None,
    mask: Tensor | None,
    lengths: Tensor | None,
    c: Tensor,
    grad_h: Tensor,
    grad_last: Tensor | None,
    scale: float,
    activation: int,
    bidirectional: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Runs the recurrence's transpose. Given the states, it is a linear scan backwards in time.

    Args: as :func:`sru`, and
        c: States that :func:`sru` saved, (B, T, D).
        grad_h: Gradient of the outputs, (B, T, D).
        grad_last: Gradient of the last states, (B, D); None means zeros.

    Returns:
        Gradients of u (B, T, K, D), of x (B, T, D) or (0, T, D), of v and b in one (4, D), of
        c0 (B, D).
    """
    batch, steps, planes, channels = u.shape
    gates, skip, v, mask = _inputs(u, x, v, mask, scale)
    c, grad_h = c.to(skip.dtype), grad_h.to(skip.dtype)
    valid = None if lengths is None else valid_steps(lengths, steps)
    grad_u = skip.new_zeros(batch, steps, planes, channels)
    grad_skip = torch.zeros_like(skip)
    sums = skip.new_zeros(4, channels)
    grad_c0 = torch.zeros_like(mask) if grad_last is None else grad_last.clone()
    for order, part in _directions(steps, channels, bidirectional):
        start = torch.zeros_like(mask)[:, part] if c0 is None else c0[:, part]
        for i in reversed(range(steps)):
            t = order[i]
            real = None if valid is None else valid[:, t].unsqueeze(-1)
            previous = start if i == 0 else c[:, order[i - 1], part]
            if i > 0 and valid is not None:
                # Read from the right, padding comes before the first real step.
                previous = torch.where(valid[:, order[i - 1]].unsqueeze(-1), previous, start)
            candidate, forget, reset = (gate[:, t, part] for gate in gates)
            xt, now, m, gh = skip[:, t, part], c[:, t, part], mask[:, part], grad_h[:, t, part]
            f = torch.sigmoid(forget + v[0, part] * previous + b[0, part])
            r = torch.sigmoid(reset + v[1, part] * previous + b[1, part])
            total = gh * m * r * _slope(now, activation) + grad_c0[:, part]
            d_reset = gh * m * (_activate(now, activation) - xt) * r * (1 - r)
            d_forget = total * (previous - candidate) * f * (1 - f)
            d_candidate = total * (1 - f)
            d_skip = gh * (1 - m * r)
            carry = total * f + d_forget * v[0, part] + d_reset * v[1, part]
            if real is not None:
                d_candidate, d_forget, d_reset, d_skip = (
                    torch.where(real, d, 0) for d in (d_candidate, d_forget, d_reset, d_skip)
                )
                carry = torch.where(real, carry, grad_c0[:, part])
            grad_u[:, t, :3, part] = torch.stack((d_candidate, d_forget, d_reset), 1)
            grad_skip[:, t, part] = d_skip
            grad_c0[:, part] = carry
            for k, d in enumerate((d_forget * previous, d_reset * previous, d_forget, d_reset)):
                sums[k, part] += d.sum(0)
    if planes == 4:
        grad_u[:, :, 3] = grad_skip
    grad_x = grad_skip * scale if x is not None else u.new_empty(0, steps, channels)
    return grad_u.to(u.dtype), grad_x.to(u.dtype), sums, grad_c0
