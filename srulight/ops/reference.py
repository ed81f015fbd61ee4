"""The SRU recurrence in plain PyTorch, which defines what every kernel computes.

Lei et al. (2018), Simple Recurrent Units for Highly Parallelizable Recurrence, EMNLP
(arXiv 1709.02755), equations 1 to 4. ``srulight.ops.sru`` documents the arguments.
"""

import torch
from torch import Tensor

from srulight.layers.masking import valid_steps

ACTIVATIONS = ("identity", "tanh", "relu")

CHECKPOINT_STEPS = 16
"""Distance between saved states, in steps. The backward pass recomputes the states in between."""


def wide(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype of states and sums for inputs of ``dtype``: float32 for half types."""
    return torch.float32 if dtype.itemsize < 4 else dtype


def _activate(c: Tensor, activation: int) -> Tensor:
    return (lambda c: c, torch.tanh, torch.relu)[activation](c)


def _slope(c: Tensor, activation: int) -> Tensor:
    if activation == 1:
        return 1 - torch.tanh(c) ** 2
    return torch.ones_like(c) if activation == 0 else (c > 0).to(c.dtype)


def _inputs(
    u: Tensor,
    skip: Tensor | None,
    v: Tensor | None,
    mask: Tensor | None,
    lengths: Tensor | None,
    scale: float,
) -> tuple[list[Tensor], Tensor, Tensor, Tensor, Tensor]:
    """Widens the gates and the scaled skip, and fills in a missing skip, v, mask or lengths."""
    dtype = wide(u.dtype)
    gates = list(u.to(dtype).unbind(2))
    if len(gates) == 4:
        skip = gates.pop()
    else:
        skip = torch.zeros_like(gates[0]) if skip is None else skip.to(dtype) * scale
    batch, steps, channels = skip.shape
    v = skip.new_zeros(2, channels) if v is None else v
    mask = skip.new_ones(batch, channels) if mask is None else mask
    lengths = torch.full((batch,), steps, device=u.device) if lengths is None else lengths
    return gates, skip, v, mask, lengths


def _directions(steps: int, channels: int, bidirectional: bool) -> list[tuple[range, slice]]:
    """Returns the order of the steps and the channels of each direction."""
    if not bidirectional:
        return [(range(steps), slice(channels))]
    half = channels // 2
    return [(range(steps), slice(half)), (range(steps - 1, -1, -1), slice(half, None))]


def _checkpoints(before: Tensor, lengths: Tensor, backwards: bool) -> Tensor:
    """Picks the states before every 16th real step, in the order of processing.

    Args:
        before: States before each step, (B, T, D).
        lengths: Number of real steps, (B,).
        backwards: Whether steps are processed right to left.
    """
    order = torch.arange(0, before.size(1), CHECKPOINT_STEPS, device=before.device)
    real = order < lengths.unsqueeze(1)  # (B, chunks)
    at = lengths.unsqueeze(1) - 1 - order if backwards else order.expand_as(real)
    at = at.clamp(min=0).unsqueeze(-1).expand(-1, -1, before.size(2))
    return before.gather(1, at) * real.unsqueeze(-1)


def sru(
    u: Tensor,
    skip: Tensor | None,
    v: Tensor | None,
    b: Tensor,
    c0: Tensor | None,
    mask: Tensor | None,
    lengths: Tensor | None,
    scale: float,
    activation: int,
    bidirectional: bool,
    save: bool,
    time_parallel: int = -1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs the recurrence. Autograd can differentiate it.

    It processes all steps in order, whatever ``time_parallel`` is.

    Returns:
        Three tensors: the outputs, (B, T, D); the states after the last real step, (B, D); and, if
        ``save``, the states before every 16th real step in the order of processing, (B, ceil(T /
        16), D), with zeros past the last real step. Without ``save`` the third is (0, 0, D).
    """
    batch, steps, _, channels = u.shape
    gates, skip, v, mask, lengths = _inputs(u, skip, v, mask, lengths, scale)
    valid = valid_steps(lengths, steps)
    outputs, lasts, saved = [], [], []
    for order, part in _directions(steps, channels, bidirectional):
        candidate, forget, reset = (gate[..., part] for gate in gates)
        c = skip.new_zeros(batch, channels)[:, part] if c0 is None else c0[:, part]
        h, before = [c] * steps, [c] * steps
        for t in order:
            before[t] = c
            f = torch.sigmoid(forget[:, t] + v[0, part] * c + b[0, part])
            r = torch.sigmoid(reset[:, t] + v[1, part] * c + b[1, part])
            new = f * c + (1 - f) * candidate[:, t]
            xt = skip[:, t, part]
            out = xt + mask[:, part] * r * (_activate(new, activation) - xt)
            real = valid[:, t].unsqueeze(-1)
            h[t], c = torch.where(real, out, 0), torch.where(real, new, c)
        outputs.append(torch.stack(h, 1) if steps else skip[..., part])
        lasts.append(c)
        if save and steps:
            saved.append(_checkpoints(torch.stack(before, 1), lengths, order.step < 0))
    return (
        torch.cat(outputs, -1).to(u.dtype),
        torch.cat(lasts, -1).clone(),  # never an alias of c0
        torch.cat(saved, -1) if saved else skip.new_empty(batch if save else 0, 0, channels),
    )


def _recompute(
    order: range, candidate: Tensor, forget: Tensor, v: Tensor, b: Tensor, c: Tensor, valid: Tensor
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Repeats the forward pass of one direction from its first state.

    The gates are (B, T, N), ``v`` and ``b`` (2, N), ``c`` (B, N) and ``valid`` (B, T).

    Returns:
        The state before each step, the forget gate of each step, and the state after the last step.
    """
    before, forget_gates = [c] * len(order), [c] * len(order)
    for t in order:
        before[t] = c
        f = forget_gates[t] = torch.sigmoid(forget[:, t] + v[0] * c + b[0])
        c = torch.where(valid[:, t].unsqueeze(-1), f * c + (1 - f) * candidate[:, t], c)
    return before, forget_gates, c


def _transposed_step(
    candidate: Tensor, f: Tensor, r: Tensor, skip: Tensor, v: Tensor, mask: Tensor,
    previous: Tensor, c: Tensor, grad_h: Tensor, grad_c: Tensor, activation: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Computes the gradients of one step's candidate, forget, reset, skip and previous state.

    ``previous`` and ``c`` are the states before and after the step. ``grad_c`` is the gradient that
    ``c`` receives from later steps. All are (B, N), except ``v``, which is (2, N).
    """
    total = grad_h * mask * r * _slope(c, activation) + grad_c
    d_reset = grad_h * mask * (_activate(c, activation) - skip) * r * (1 - r)
    d_forget = total * (previous - candidate) * f * (1 - f)
    carry = total * f + d_forget * v[0] + d_reset * v[1]
    return total * (1 - f), d_forget, d_reset, grad_h * (1 - mask * r), carry


def sru_backward(
    u: Tensor, skip: Tensor | None, v: Tensor | None, b: Tensor, mask: Tensor | None,
    lengths: Tensor | None, c: Tensor, grad_h: Tensor, grad_last: Tensor | None,
    scale: float, activation: int, bidirectional: bool, time_parallel: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Runs the backward pass. Given the states, it is a linear scan backward in time.

    The arguments that ``sru`` shares have the same meaning here. ``c`` holds the states that it
    saved, ``grad_h`` the gradient of the outputs, (B, T, D), and ``grad_last`` the gradient of the
    last states, (B, D), or None for zeros.

    Returns:
        Gradients of u, (B, T, K, D); of skip, (B, T, D), or (0, T, D) without skip; of v and b in
        one tensor, (4, D); and of c0, (B, D).
    """
    batch, steps, planes, channels = u.shape
    has_skip = skip is not None
    gates, skip, v, mask, lengths = _inputs(u, skip, v, mask, lengths, scale)
    grad_h = grad_h.to(skip.dtype)
    valid = valid_steps(lengths, steps)
    grad_u = skip.new_zeros(batch, steps, planes, channels)
    grad_skip = skip.new_zeros(skip.shape)  # contiguous, even if skip is not
    sums = skip.new_zeros(4, channels)
    grad_c0 = torch.zeros_like(mask) if grad_last is None else grad_last.clone()
    for order, part in _directions(steps, channels, bidirectional) if steps else ():
        candidate, forget, reset = (gate[..., part] for gate in gates)
        own_v, own_b, first = v[:, part], b[:, part], c[:, 0, part]
        before, f, now = _recompute(order, candidate, forget, own_v, own_b, first, valid)
        for t in reversed(order):
            r = torch.sigmoid(reset[:, t] + own_v[1] * before[t] + own_b[1])
            *grads, carry = _transposed_step(
                candidate[:, t], f[t], r, skip[:, t, part], own_v, mask[:, part], before[t], now,
                grad_h[:, t, part], grad_c0[:, part], activation,
            )  # fmt: skip
            now = before[t]
            real = valid[:, t].unsqueeze(-1)
            grad_c0[:, part] = torch.where(real, carry, grad_c0[:, part])
            d_candidate, d_forget, d_reset, d_skip = (torch.where(real, d, 0) for d in grads)
            grad_u[:, t, :3, part] = torch.stack((d_candidate, d_forget, d_reset), 1)
            grad_skip[:, t, part] = d_skip
            for k, d in enumerate((d_forget * now, d_reset * now, d_forget, d_reset)):
                sums[k, part] += d.sum(0)
    if planes == 4:
        grad_u[:, :, 3] = grad_skip
    grad_skip = grad_skip * scale if has_skip else u.new_empty(0, steps, channels)
    return grad_u.to(u.dtype), grad_skip.to(u.dtype), sums, grad_c0


@torch.no_grad()
def state_jacobian(u: Tensor, v: Tensor, b: Tensor, c0: Tensor | None) -> Tensor:
    """Computes how a change of each state changes the next one, reading left to right.

    A change grows where the absolute value exceeds 1. The function is slow, meant for monitoring,
    and has no gradients.

    Args:
        u: Gate inputs, (B, T, K, D). Only the first two, candidate and forget, are read.
        v: Peephole weights, (2, D), with those of the forget gate first.
        b: Biases, (2, D), with those of the forget gate first.
        c0: State before the first step, (B, D). None means zeros.

    Returns:
        Derivatives dc_t / dc_(t-1), (B, T, D), float32 for half types.
    """
    dtype = wide(u.dtype)
    candidate, forget = u[:, :, :2].to(dtype).unbind(2)
    vf, bf = v[0].to(dtype), b[0].to(dtype)
    c = candidate.new_zeros(len(u), u.size(3)) if c0 is None else c0.to(dtype)
    found = torch.empty_like(candidate)
    for t in range(u.size(1)):
        f = torch.sigmoid(forget[:, t] + vf * c + bf)
        found[:, t] = f + vf * (c - candidate[:, t]) * f * (1 - f)
        c = f * c + (1 - f) * candidate[:, t]
    return found
