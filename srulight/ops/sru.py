"""The SRU recurrence as a PyTorch operator.

This module registers the schemas, the fake implementations, the autograd formulas, and the
reference as the kernel of every device. A compiled library is loaded when an operator first runs on
its device type. It only adds faster kernels under the same names, so programs that are exported or
compiled with one run with the other.
"""

from collections.abc import Callable, Collection
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from srulight.ops import extension, reference
from srulight.ops.reference import ACTIVATIONS, CHECKPOINT_STEPS, wide

STATE = "Tensor? v, Tensor b, Tensor? c0"
MASKS = "Tensor? mask, Tensor? lengths"
OPTIONS = "float scale, int activation, bool bidirectional"
# Programs that were exported without this argument have its default.
TIME = "int time_parallel=-1"

TimeParallel = bool | Literal["auto"]
"""Whether the steps of a sequence may be divided into chunks that are processed in parallel."""

torch.library.define(
    "srulight::sru",
    f"(Tensor u, Tensor? skip, {STATE}, {MASKS}, {OPTIONS}, bool save, {TIME})"
    " -> (Tensor h, Tensor last, Tensor c)",
)
torch.library.define(
    "srulight::sru_backward",
    f"(Tensor u, Tensor? skip, Tensor? v, Tensor b, {MASKS}, Tensor c, Tensor grad_h,"
    f" Tensor? grad_last, {OPTIONS}, {TIME})"
    " -> (Tensor grad_u, Tensor grad_skip, Tensor grad_parameters, Tensor grad_c0)",
)


def define_everywhere(
    name: str,
    definition: Callable[..., Any],
    fake: Callable[..., Any],
    compiled: Collection[str] | None = None,
) -> None:
    """Makes ``definition`` the kernel of an operator on devices without a compiled one.

    Args:
        name: Name of the operator.
        definition: Function that computes its outputs.
        fake: Function that returns outputs of the right shapes and dtypes without computing them.
        compiled: Device types whose library has a kernel of this operator; None means all.
    """
    operator = getattr(torch.ops.srulight, name).default
    names = [argument.name for argument in operator._schema.arguments]

    def load_and_run(*arguments: Any) -> Any:  # noqa: ANN401
        _refuse_unlike(names, arguments)
        device = arguments[0].device.type
        if (compiled is None or device in compiled) and extension.load(device):
            return operator(*arguments)
        return definition(*arguments)

    def checked_fake(*arguments: Any) -> Any:  # noqa: ANN401
        _refuse_unlike(names, arguments)
        return fake(*arguments)

    torch.library.impl(f"srulight::{name}", "CompositeExplicitAutograd", load_and_run)
    torch.library.register_fake(f"srulight::{name}", checked_fake)


def _listed(argument: Any) -> list[Any]:  # noqa: ANN401
    return argument if isinstance(argument, list) else [argument]


def _refuse_unlike(names: list[str], arguments: tuple[Any, ...]) -> None:
    """Raises RuntimeError for a tensor that is not dense, or not on the first one's device."""
    if arguments[0] is None:
        raise RuntimeError(f"{names[0]} must be a tensor, got None")
    device = arguments[0].device
    each = ((n, t) for n, a in zip(names, arguments, strict=False) for t in _listed(a))
    for name, t in each:
        if isinstance(t, Tensor) and t.device != device:
            raise RuntimeError(
                f"{name} must be on the device of {names[0]}, {device}, got {t.device}"
            )
        if isinstance(t, Tensor) and (t.layout is not torch.strided or t.is_quantized):
            kind = "a quantized tensor" if t.is_quantized else str(t.layout)
            raise RuntimeError(f"{name} must be a dense tensor, got {kind}")


_SAVE = 10
"""Position of the argument ``save`` of the operator."""


def _fake(u: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
    batch, steps, _planes, channels = u.shape
    return fake_outputs(u, batch, steps, channels, rest[_SAVE - 1])


def fake_outputs(
    like: Tensor, batch: int, steps: int, channels: int, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns h, last and c of the right shapes and dtypes, without computing them."""
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


def save_for_backward(ctx: Any, options: tuple[Any, ...], *tensors: Tensor | None) -> None:  # noqa: ANN401
    """Saves what ``recurrence_backward`` needs.

    ``options`` are scale, activation, bidirectional, save and time_parallel. ``tensors`` are u,
    skip, v, b, mask, lengths and c; a caller may add its own.
    """
    ctx.scale, ctx.activation, ctx.bidirectional, ctx.save, ctx.time_parallel = options
    ctx.save_for_backward(*tensors)
    ctx.set_materialize_grads(False)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ANN401
    u, skip, v, b, c0, mask, lengths, *options = inputs
    ctx.has_c0 = c0 is not None
    save_for_backward(ctx, tuple(options), u, skip, v, b, mask, lengths, output[2])


def recurrence_backward(
    ctx: Any,  # noqa: ANN401
    grad_h: Tensor | None,
    grad_last: Tensor | None,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor, Tensor | None]:
    """Computes the gradients of u, skip, v, b and c0."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the SRU kernels compute first derivatives only; for create_graph=True, call "
            "srulight.ops.reference.sru, which autograd can differentiate repeatedly"
        )
    if not ctx.save:
        raise RuntimeError(
            "this program was exported for inference and has no gradients; train the original "
            "module instead"
        )
    u, skip, v, b, mask, lengths, c = ctx.saved_tensors[:7]
    if grad_h is None:
        grad_h = u.new_zeros(1).expand(u.size(0), u.size(1), u.size(3))
    grad_u, grad_skip, grad_parameters, grad_c0 = torch.ops.srulight.sru_backward.default(
        u, skip, v, b, mask, lengths, c, grad_h, grad_last,
        ctx.scale, ctx.activation, ctx.bidirectional, ctx.time_parallel,
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
    return (*recurrence_backward(ctx, grad_h, grad_last), *(None,) * 7)


define_everywhere("sru", reference.sru, _fake)
define_everywhere("sru_backward", reference.sru_backward, _fake_backward)

_library = torch.library.Library("srulight", "FRAGMENT")


def _register_gradients() -> None:
    """Registers the gradients of sru. Under ``torch.func`` the reference runs instead."""
    try:
        make = torch._library.autograd.make_autograd_impl
        formula = make(
            torch.ops.srulight.sru.default, torch._library.autograd.Info(_backward, _setup_context)
        )
    except AttributeError:  # private parts of torch are missing: only sru() can transform
        torch.library.register_autograd("srulight::sru", _backward, setup_context=_setup_context)
        return

    def differentiable(keys: Any, *arguments: Any) -> Any:  # noqa: ANN401
        return reference.sru(*arguments) if transformed() else formula(keys, *arguments)

    _library.impl("sru", differentiable, "Autograd", with_keyset=True)


_register_gradients()


def cast(dtype: torch.dtype, *tensors: Tensor | None) -> list[Any]:
    """Casts tensors to a dtype and passes None on.

    Testing the dtype first takes a third of the time of a cast that does nothing.
    """
    return [t if t is None or t.dtype is dtype else t.to(dtype) for t in tensors]


def autocasts(x: Tensor) -> bool:
    """Returns whether autocast chooses the dtype of the matrix products of ``x``."""
    # The meta device has no autocast, and asking for its state is an error.
    return x.dtype != torch.float64 and not x.is_meta and torch.is_autocast_enabled(x.device.type)


def time_parallel_code(choice: TimeParallel) -> int:
    """Returns how the operators represent ``time_parallel``: -1 for "auto", else 0 or 1.

    Raises:
        ValueError: If it is neither.
    """
    if choice == "auto":
        return -1
    if choice is True or choice is False:
        return int(choice)
    raise ValueError(f"time_parallel must be 'auto', True or False, got {choice!r}")


def is_exporting() -> bool:
    """Returns whether ``torch.export`` is tracing the program.

    In torch 2.11, ``torch.compiler.is_exporting`` is also true under ``torch.compile``.
    """
    return torch.compiler._is_exporting_flag


def transformed() -> bool:
    """Returns whether the caller needs derivatives for which the kernels have no formula.

    These are the transformations of ``torch.func`` and forward-mode differentiation. The reference
    supports them all; a kernel would silently drop tangents.
    """
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Returns whether the backward pass needs saved tensors; False in an exported program."""
    if not torch.is_grad_enabled() or is_exporting():
        return False
    return any(t is not None and t.requires_grad for t in tensors)


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
    time_parallel: TimeParallel = "auto",
) -> tuple[Tensor, Tensor]:
    """Runs the elementwise part of an SRU layer over a whole batch.

    Lei et al. (2018), equations 1 to 4, for each channel::

        f[t] = sigmoid(u[t, 1] + v[0] * c[t-1] + b[0])
        r[t] = sigmoid(u[t, 2] + v[1] * c[t-1] + b[1])
        c[t] = f[t] * c[t-1] + (1 - f[t]) * u[t, 0]
        h[t] = s[t] + mask * r[t] * (g(c[t]) - s[t])

    where s is ``scale * skip``, the fourth gate of u, or 0. With half types, tensors are stored in
    16 bits, while states, sums and all arithmetic are float32. Under ``torch.func`` and in
    forward-mode differentiation the reference runs, which is slow but has every derivative.

    Args:
        u: Gate inputs, (B, T, K, D): candidate, forget, reset and, if K is 4, skip. D counts the
            channels of both directions, with those of the forward direction first.
        skip: Skip input, (B, T, D), which is cast to the dtype of ``u``. None if K is 4, or if the
            layer has no skip.
        v: Peephole weights of the forget and reset gates, (2, D). None means no peephole, as in the
            cell of 2017.
        b: Biases of the forget and reset gates, (2, D).
        c0: State before the first step, (B, D). None means zeros.
        mask: Factor of the update at every step, (B, D): a mask of variational dropout, already
            scaled. It receives no gradient. None means ones.
        lengths: Number of real steps in each sequence, (B,) int64, 0 to T. None means T for all.
            The outputs at padded steps are zeros, and these steps do not change the state.
        scale: Factor of ``skip``.
        activation: The function g: "identity", "tanh" or "relu".
        bidirectional: Whether the second half of the channels reads right to left.
        time_parallel: Whether to divide the steps of a sequence into chunks that are processed in
            parallel, where a kernel can. True and False force and forbid it. "auto" leaves it to
            the kernel, which on a CPU divides sequences where threads would be idle otherwise, and
            on a GPU does not. On a CPU the results are the same, to the bit.

    Returns:
        Outputs, (B, T, D), in the dtype of ``u``, and the state after the last real step of each
        direction, (B, D), float32 for half types.

    Raises:
        RuntimeError: If an argument has the wrong shape, dtype or device. The message names it.
        ValueError: If ``time_parallel`` has an unknown value.
    """
    parallel = time_parallel_code(time_parallel)
    v, bias, c0, mask = cast(wide(u.dtype), v, b, c0, mask)
    (skip,) = cast(u.dtype, skip)
    rest = (skip, v, bias, c0, mask, lengths, scale, ACTIVATIONS.index(activation), bidirectional)
    if transformed():
        return reference.sru(u, *rest, False)[:2]
    save = needs_gradient(u, skip, v, bias, c0)
    h, last, _ = torch.ops.srulight.sru.default(u, *rest, save, parallel)
    return h, last
