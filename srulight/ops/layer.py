"""A whole SRU layer as PyTorch operators: the matrix product of all steps, and the recurrence."""

from typing import Any

import torch
from torch import Tensor

from srulight.ops.product import linear, linear_plus
from srulight.ops.reference import ACTIVATIONS
from srulight.ops.sru import (
    MASKS,
    OPTIONS,
    STATE,
    fake_outputs,
    keep,
    load,
    needs_gradient,
    recurrence_backward,
    widened,
)

torch.library.define(
    "srulight::sru_layer",
    f"(Tensor x, Tensor weight, Tensor? skip, {STATE}, {MASKS}, {OPTIONS}, bool save)"
    " -> (Tensor h, Tensor last, Tensor u, Tensor c)",
)
torch.library.define(
    "srulight::sru_step",
    f"(Tensor x, Tensor weight, Tensor? skip, {STATE}, float scale, int activation)"
    " -> (Tensor h, Tensor last)",
)


def _layer(
    x: Tensor,
    weight: Tensor,
    skip: Tensor | None,
    v: Tensor | None,
    b: Tensor,
    *options: Any,  # noqa: ANN401
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    u = linear(x, weight).unflatten(-1, (-1, b.size(1)))
    h, last, c = torch.ops.srulight.sru(u, skip, v, b, *options)
    return h, last, u if options[-1] else u.new_empty(0, *u.shape[1:]), c


def _step(
    x: Tensor, weight: Tensor, skip: Tensor | None, v: Tensor | None, b: Tensor,
    c0: Tensor | None, scale: float, activation: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return _layer(x, weight, skip, v, b, c0, None, None, scale, activation, False, False)[:2]


torch.library.impl("srulight::sru_layer", "CompositeExplicitAutograd", _layer)
torch.library.impl("srulight::sru_step", "CompositeExplicitAutograd", _step)


def _fake_layer(
    x: Tensor,
    weight: Tensor,
    _skip: Tensor | None,
    _v: Tensor | None,
    b: Tensor,
    *options: Any,  # noqa: ANN401
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (batch, steps, _), channels, save = x.shape, b.size(1), options[-1]
    h, last, c = fake_outputs(x, batch, steps, channels, save)
    u = x.new_empty(batch if save else 0, steps, weight.size(0) // channels, channels)
    return h, last, u, c


def _fake_step(
    x: Tensor, _weight: Tensor, _skip: Tensor | None, _v: Tensor | None, b: Tensor, *_: object
) -> tuple[Tensor, Tensor]:
    return fake_outputs(x, x.size(0), x.size(1), b.size(1), False)[:2]


def _setup_layer(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ANN401
    x, weight, skip, v, b, c0, mask, lengths, *options = inputs
    ctx.has_c0, ctx.skips_input = c0 is not None, skip is x
    keep(ctx, tuple(options), output[2], skip, v, b, mask, lengths, output[3], x, weight)


def _backward_layer(
    ctx: Any,  # noqa: ANN401
    grad_h: Tensor | None,
    grad_last: Tensor | None,
    _u: None,
    _c: None,
) -> tuple[Tensor | None, ...]:
    grad_u, grad_skip, *others = recurrence_backward(ctx, grad_h, grad_last)
    x, weight = ctx.saved_tensors[7:]
    rows = grad_u.view(-1, weight.size(0))
    grad_x = grad_weight = None
    if ctx.skips_input and grad_skip is not None:
        through_skip = grad_skip.view(-1, x.size(2))
        grad_x, grad_skip = linear_plus(rows, weight.t(), through_skip).view_as(x), None
    elif ctx.needs_input_grad[0]:
        grad_x = linear(rows, weight.t()).view_as(x)
    if ctx.needs_input_grad[1]:
        grad_weight = rows.t() @ x.reshape(-1, x.size(2))
    return (grad_x, grad_weight, grad_skip, *others, *(None,) * 6)


torch.library.register_fake("srulight::sru_layer", _fake_layer)
torch.library.register_fake("srulight::sru_step", _fake_step)
torch.library.register_autograd("srulight::sru_layer", _backward_layer, setup_context=_setup_layer)


def sru_layer(
    x: Tensor,
    weight: Tensor,
    skip: Tensor | None,
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
    """Runs a whole SRU layer: :func:`sru` of the matrix product of all steps.

    Under ``torch.autocast`` the product and what is stored are in its dtype, states and sums in
    float32. One step without gradients takes a shorter way.

    Args: as :func:`sru`, and
        x: Inputs of the product, (B, T, F).
        weight: Matrices of the gates one below the other, (K * D, F).

    Returns:
        Outputs, (B, T, D) in the dtype of the product, and the states after the last real steps.
    """
    load()
    dtype = x.dtype
    if torch.is_autocast_enabled(x.device.type) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(x.device.type)
    inputs = x.to(dtype)
    if skip is not None:
        skip = inputs if skip is x else skip.to(dtype)
    weight = weight.to(dtype)
    v, bias, c0, mask = widened(dtype, v, b, c0, mask)
    save = needs_gradient(inputs, weight, skip, v, bias, c0)
    code = ACTIVATIONS.index(activation)
    if x.size(1) == 1 and not save and mask is None and lengths is None and not bidirectional:
        return torch.ops.srulight.sru_step(inputs, weight, skip, v, bias, c0, scale, code)
    h, last, _, _ = torch.ops.srulight.sru_layer(
        inputs, weight, skip, v, bias, c0, mask, lengths, scale, code, bidirectional, save
    )
    return h, last
