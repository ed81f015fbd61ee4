"""The SRU recurrence as PyTorch operators.

Registered here: schemas, the reference as the kernel of every device, fake and autograd formulas.
The compiled library only adds faster kernels under the same names, so that a program exported or
compiled with one runs with the other.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.ops import extension, reference
from srulight.ops.reference import ACTIVATIONS, CHECKPOINT_STEPS, wide

_STATE = "Tensor? v, Tensor b, Tensor? c0"
_MASKS = "Tensor? mask, Tensor? lengths"
_OPTIONS = "float scale, int activation, bool bidirectional"

torch.library.define(
    "srulight::sru",
    f"(Tensor u, Tensor? skip, {_STATE}, {_MASKS}, {_OPTIONS}, bool save)"
    " -> (Tensor h, Tensor last, Tensor c)",
)
torch.library.define(
    "srulight::sru_backward",
    f"(Tensor u, Tensor? skip, Tensor? v, Tensor b, {_MASKS}, Tensor c, Tensor grad_h,"
    f" Tensor? grad_last, {_OPTIONS})"
    " -> (Tensor grad_u, Tensor grad_skip, Tensor grad_parameters, Tensor grad_c0)",
)
torch.library.define(
    "srulight::sru_layer",
    f"(Tensor x, Tensor weight, Tensor? skip, {_STATE}, {_MASKS}, {_OPTIONS}, bool save)"
    " -> (Tensor h, Tensor last, Tensor u, Tensor c)",
)
torch.library.define(
    "srulight::sru_step",
    f"(Tensor x, Tensor weight, Tensor? skip, {_STATE}, float scale, int activation)"
    " -> (Tensor h, Tensor last)",
)


def _layer(
    x: Tensor, weight: Tensor, skip: Tensor | None, v: Tensor | None, b: Tensor, *options: Any  # noqa: ANN401
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    u = F.linear(x, weight).unflatten(-1, (-1, b.size(1)))
    h, last, c = torch.ops.srulight.sru(u, skip, v, b, *options)
    return h, last, u if options[-1] else u.new_empty(0, *u.shape[1:]), c


def _step(
    x: Tensor, weight: Tensor, skip: Tensor | None, v: Tensor | None, b: Tensor,
    c0: Tensor | None, scale: float, activation: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return _layer(x, weight, skip, v, b, c0, None, None, scale, activation, False, False)[:2]


for name, kernel in (
    ("sru", reference.sru),
    ("sru_backward", reference.sru_backward),
    ("sru_layer", _layer),
    ("sru_step", _step),
):
    torch.library.impl(f"srulight::{name}", "CompositeExplicitAutograd", kernel)


def _fake(u: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
    batch, steps, _planes, channels = u.shape
    return _fake_outputs(u, batch, steps, channels, arguments[-1])


def _fake_outputs(
    like: Tensor, batch: int, steps: int, channels: int, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = wide(like.dtype)
    saved = (batch, (steps + CHECKPOINT_STEPS - 1) // CHECKPOINT_STEPS) if save else (0, 0)
    return (
        like.new_empty(batch, steps, channels),
        like.new_empty(batch, channels, dtype=dtype),
        like.new_empty(*saved, channels, dtype=dtype),
    )


def _fake_backward(
    u: Tensor, skip: Tensor | None, *_: object
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, steps, _planes, channels = u.shape
    return (
        torch.empty_like(u, memory_format=torch.contiguous_format),
        u.new_empty(batch if skip is not None else 0, steps, channels),
        u.new_empty(4, channels, dtype=wide(u.dtype)),
        u.new_empty(batch, channels, dtype=wide(u.dtype)),
    )


def _fake_layer(
    x: Tensor, weight: Tensor, _skip: Tensor | None, _v: Tensor | None, b: Tensor, *options: Any  # noqa: ANN401
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (batch, steps, _), channels, save = x.shape, b.size(1), options[-1]
    h, last, c = _fake_outputs(x, batch, steps, channels, save)
    u = x.new_empty(batch if save else 0, steps, weight.size(0) // channels, channels)
    return h, last, u, c


def _fake_step(
    x: Tensor, _weight: Tensor, _skip: Tensor | None, _v: Tensor | None, b: Tensor, *_: object
) -> tuple[Tensor, Tensor]:
    return _fake_outputs(x, x.size(0), x.size(1), b.size(1), False)[:2]


def _keep(ctx: Any, options: tuple[Any, ...], *tensors: Tensor | None) -> None:  # noqa: ANN401
    ctx.scale, ctx.activation, ctx.bidirectional, ctx.save = options
    ctx.save_for_backward(*tensors)
    ctx.set_materialize_grads(False)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ANN401
    u, skip, v, b, c0, mask, lengths, *options = inputs
    ctx.has_c0 = c0 is not None
    _keep(ctx, tuple(options), u, skip, v, b, mask, lengths, output[2])


def _setup_layer(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ANN401
    x, weight, skip, v, b, c0, mask, lengths, *options = inputs
    ctx.has_c0, ctx.skips_input = c0 is not None, skip is x
    _keep(ctx, tuple(options), output[2], skip, v, b, mask, lengths, output[3], x, weight)


def _recurrence_backward(
    ctx: Any,  # noqa: ANN401
    grad_h: Tensor | None,
    grad_last: Tensor | None,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor, Tensor | None]:
    """Gives the gradients of u, skip, v, b and c0."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "srulight computes first derivatives only; for create_graph=True run with "
            f"{extension.SWITCH}=off and call srulight.ops.reference.sru yourself"
        )
    if not ctx.save:
        raise RuntimeError("srulight: this program was exported for inference; it has no gradients")
    u, skip, v, b, mask, lengths, c = ctx.saved_tensors[:7]
    if grad_h is None:
        grad_h = u.new_zeros(1).expand(u.size(0), u.size(1), u.size(3))
    grad_u, grad_skip, grad_parameters, grad_c0 = torch.ops.srulight.sru_backward(
        u, skip, v, b, mask, lengths, c, grad_h, grad_last,
        ctx.scale, ctx.activation, ctx.bidirectional,
    )  # fmt: skip
    return (
        grad_u,
        None if skip is None else grad_skip,
        None if v is None else grad_parameters[:2],
        grad_parameters[2:],
        grad_c0 if ctx.has_c0 else None,
    )


def _backward(
    ctx: Any,  # noqa: ANN401
    grad_h: Tensor | None,
    grad_last: Tensor | None,
    _c: None,
) -> tuple[Tensor | None, ...]:
    return (*_recurrence_backward(ctx, grad_h, grad_last), *(None,) * 6)


def _backward_layer(
    ctx: Any,  # noqa: ANN401
    grad_h: Tensor | None,
    grad_last: Tensor | None,
    _u: None,
    _c: None,
) -> tuple[Tensor | None, ...]:
    grad_u, grad_skip, *others = _recurrence_backward(ctx, grad_h, grad_last)
    x, weight = ctx.saved_tensors[7:]
    rows = grad_u.view(-1, weight.size(0))
    grad_x = grad_weight = None
    if ctx.skips_input and grad_skip is not None:
        # One product adds to what came through the skip; a sum of its own would cost a pass.
        grad_x, grad_skip = grad_skip.view(-1, x.size(2)).addmm_(rows, weight).view_as(x), None
    elif ctx.needs_input_grad[0]:
        grad_x = (rows @ weight).view_as(x)
    if ctx.needs_input_grad[1]:
        grad_weight = rows.t() @ x.reshape(-1, x.size(2))
    return (grad_x, grad_weight, grad_skip, *others, *(None,) * 6)


torch.library.register_fake("srulight::sru", _fake)
torch.library.register_fake("srulight::sru_backward", _fake_backward)
torch.library.register_fake("srulight::sru_layer", _fake_layer)
torch.library.register_fake("srulight::sru_step", _fake_step)
torch.library.register_autograd("srulight::sru", _backward, setup_context=_setup)
torch.library.register_autograd("srulight::sru_layer", _backward_layer, setup_context=_setup_layer)


def _widened(dtype: torch.dtype, *tensors: Tensor | None) -> list[Tensor | None]:
    return [None if t is None else t.to(wide(dtype)) for t in tensors]


def _needs_gradient(*tensors: Tensor | None) -> bool:
    if torch.compiler.is_exporting():
        return False
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _load() -> None:
    if not torch.compiler.is_compiling():
        extension.load()


def sru(
    u: Tensor,
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
    """Runs the elementwise part of an SRU layer over a whole batch.

    Lei et al. (2018), equations 1 to 4, for each channel::

        f[t] = sigmoid(u[t, 1] + v[0] * c[t-1] + b[0])
        r[t] = sigmoid(u[t, 2] + v[1] * c[t-1] + b[1])
        c[t] = f[t] * c[t-1] + (1 - f[t]) * u[t, 0]
        h[t] = s[t] + mask * r[t] * (g(c[t]) - s[t])

    where s is ``scale * skip``, or the fourth gate of u, or 0. Half types are stored narrow;
    states, sums and all arithmetic are float32.

    Args:
        u: Gate inputs, (B, T, K, D): candidate, forget, reset and, if K is 4, skip. D counts the
            channels of both directions, the forward ones first.
        skip: Skip input, (B, T, D), cast to the dtype of ``u``; None if K is 4, or for no skip.
        v: Peephole weights of forget and reset, (2, D); None is the cell of 2017, without them.
        b: Biases of forget and reset, (2, D).
        c0: State before the first step, (B, D); None means zeros.
        mask: Factor of the update, (B, D), the same at every step: variational dropout, already
            scaled; not differentiated. None means ones.
        lengths: Real steps of each sequence, (B,) int64, 0 to T; None means all T. Padded steps
            come out as zeros and change nothing.
        scale: Factor of ``skip``.
        activation: g: "identity", "tanh" or "relu".
        bidirectional: Whether the second half of the channels reads right to left.

    Returns:
        Outputs, (B, T, D) in the dtype of ``u``, and the state after the last real step of each
        direction, (B, D), float32 for half types.

    Raises:
        RuntimeError: If a shape or dtype does not fit; the message names it.
    """
    _load()
    v, bias, c0, mask = _widened(u.dtype, v, b, c0, mask)
    skip = None if skip is None else skip.to(u.dtype)
    h, last, _ = torch.ops.srulight.sru(
        u, skip, v, bias, c0, mask, lengths,
        scale, ACTIVATIONS.index(activation), bidirectional, _needs_gradient(u, skip, v, bias, c0),
    )  # fmt: skip
    return h, last


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
    _load()
    dtype = x.dtype
    if torch.is_autocast_enabled(x.device.type) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(x.device.type)
    inputs = x.to(dtype)
    if skip is not None:
        skip = inputs if skip is x else skip.to(dtype)
    weight = weight.to(dtype)
    v, bias, c0, mask = _widened(dtype, v, b, c0, mask)
    save = _needs_gradient(inputs, weight, skip, v, bias, c0)
    code = ACTIVATIONS.index(activation)
    if x.size(1) == 1 and not save and mask is None and lengths is None and not bidirectional:
        return torch.ops.srulight.sru_step(inputs, weight, skip, v, bias, c0, scale, code)
    h, last, _, _ = torch.ops.srulight.sru_layer(
        inputs, weight, skip, v, bias, c0, mask, lengths, scale, code, bidirectional, save
    )
    return h, last
