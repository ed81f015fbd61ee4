"""The SRU recurrence as a PyTorch operator.

Registered here: schemas, the reference as the kernel of every device, fake and autograd formulas.
The compiled library only adds faster kernels under the same names, so that a program exported or
compiled with one runs with the other.
"""

from typing import Any

import torch
from torch import Tensor

from srulight.ops import extension, reference
from srulight.ops.reference import ACTIVATIONS, wide

_INPUTS = "Tensor u, Tensor? x, Tensor? v, Tensor b, Tensor? c0, Tensor? mask, Tensor? lengths"
_OPTIONS = "float scale, int activation, bool bidirectional"

torch.library.define(
    "srulight::sru",
    f"({_INPUTS}, {_OPTIONS}, bool save) -> (Tensor h, Tensor last, Tensor c)",
)
torch.library.define(
    "srulight::sru_backward",
    f"({_INPUTS}, Tensor c, Tensor grad_h, Tensor? grad_last, {_OPTIONS})"
    " -> (Tensor grad_u, Tensor grad_x, Tensor grad_parameters, Tensor grad_c0)",
)
torch.library.impl("srulight::sru", "CompositeExplicitAutograd", reference.sru)
torch.library.impl("srulight::sru_backward", "CompositeExplicitAutograd", reference.sru_backward)


def _fake(u: Tensor, *arguments: object) -> tuple[Tensor, Tensor, Tensor]:
    *_, save = arguments
    batch, steps, _planes, channels = u.shape
    return (
        u.new_empty(batch, steps, channels),
        u.new_empty(batch, channels, dtype=wide(u.dtype)),
        u.new_empty(batch if save else 0, steps, channels),
    )


def _fake_backward(
    u: Tensor, x: Tensor | None, *_: object
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, steps, _planes, channels = u.shape
    return (
        torch.empty_like(u, memory_format=torch.contiguous_format),
        u.new_empty(batch if x is not None else 0, steps, channels),
        u.new_empty(4, channels, dtype=wide(u.dtype)),
        u.new_empty(batch, channels, dtype=wide(u.dtype)),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ANN401
    *tensors, ctx.scale, ctx.activation, ctx.bidirectional, save = inputs
    if not save:
        raise RuntimeError("srulight::sru was called with save=False, and a gradient is wanted")
    ctx.save_for_backward(*tensors, output[2])
    ctx.set_materialize_grads(False)


def _backward(
    ctx: Any,  # noqa: ANN401
    grad_h: Tensor | None,
    grad_last: Tensor | None,
    _: None,
) -> tuple[Tensor | None, ...]:
    u, x, v, b, c0, mask, lengths, c = ctx.saved_tensors
    if grad_h is None:
        grad_h = torch.zeros_like(c)
    grad_u, grad_x, grad_parameters, grad_c0 = torch.ops.srulight.sru_backward(
        u, x, v, b, c0, mask, lengths, c, grad_h, grad_last,
        ctx.scale, ctx.activation, ctx.bidirectional,
    )  # fmt: skip
    return (
        grad_u,
        None if x is None else grad_x,
        None if v is None else grad_parameters[:2].clone(),
        grad_parameters[2:].clone(),
        None if c0 is None else grad_c0,
        *(None,) * 6,
    )


torch.library.register_fake("srulight::sru", _fake)
torch.library.register_fake("srulight::sru_backward", _fake_backward)
torch.library.register_autograd("srulight::sru", _backward, setup_context=_setup_context)


def sru(
    u: Tensor,
    x: Tensor | None,
    v: Tensor | None,
    b: Tensor,
    c0: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    scale: float = 1.0,
    activation: str = "identity",
    bidirectional: bool = False,
) -> tuple[Tensor, Tensor]:
    """Runs the elementwise part of an SRU layer over a whole batch.

    Lei et al. (2018), equations 1 to 4, for each channel::

        f[t] = sigmoid(u[t, 1] + v[0] * c[t-1] + b[0])
        r[t] = sigmoid(u[t, 2] + v[1] * c[t-1] + b[1])
        c[t] = f[t] * c[t-1] + (1 - f[t]) * u[t, 0]
        h[t] = s[t] + mask * r[t] * (g(c[t]) - s[t])

    where the skip s is ``scale * x``, or the fourth gate of u, or 0. Half types are stored narrow;
    states, sums and all arithmetic are float32.

    Args:
        u: Gate inputs, (B, T, K, D): candidate, forget, reset and, if K is 4, skip. D counts the
            channels of both directions, the forward ones first.
        x: Skip input, (B, T, D), cast to the dtype of ``u``; None if K is 4, or for no skip.
        v: Peephole weights of forget and reset, (2, D); None is the cell of 2017, without them.
        b: Biases of forget and reset, (2, D).
        c0: State before the first step, (B, D); None means zeros.
        mask: Factor of the update, (B, D), the same at every step: variational dropout, already
            scaled; not differentiated. None means ones.
        lengths: Real steps of each sequence, (B,) int64, 0 to T; None means all T. Padded steps
            come out as zeros and change nothing.
        scale: Factor of ``x``.
        activation: g: "identity", "tanh" or "relu".
        bidirectional: Whether the second half of the channels reads right to left.

    Returns:
        Outputs, (B, T, D) in the dtype of ``u``, and the state after the last real step of each
        direction, (B, D), float32 for half types.

    Raises:
        RuntimeError: If a shape or dtype does not fit; the message names it.
    """
    if not torch.compiler.is_compiling():
        extension.load()
    dtype = wide(u.dtype)
    tensors = (
        u,
        None if x is None else x.to(u.dtype),
        None if v is None else v.to(dtype),
        b.to(dtype),
        None if c0 is None else c0.to(dtype),
        None if mask is None else mask.to(dtype),
        lengths,
    )
    save = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    h, last, _ = torch.ops.srulight.sru(
        *tensors, scale, ACTIVATIONS.index(activation), bidirectional, save
    )
    return h, last
