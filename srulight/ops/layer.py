"""A whole SRU layer: one matrix product for all steps, and the recurrence."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.ops import reference
from srulight.ops.extension import fuses
from srulight.ops.product import Matrix, StoredMatrix, backward_products, linear, product
from srulight.ops.reference import ACTIVATIONS, wide
from srulight.ops.sparse import SparseProducts
from srulight.ops.sru import (
    MASKS,
    OPTIONS,
    STATE,
    TIME,
    TimeParallel,
    autocasts,
    cast,
    define_everywhere,
    fake_outputs,
    needs_gradient,
    recurrence_backward,
    save_for_backward,
    time_parallel_code,
    transformed,
)

torch.library.define(
    "srulight::sru_step",
    f"(Tensor x, Tensor weight, Tensor? skip, {STATE}, float scale, int activation)"
    " -> (Tensor h, Tensor last)",
)


def _step(
    x: Tensor, weight: Tensor, skip: Tensor | None, v: Tensor | None, b: Tensor,
    c0: Tensor | None, scale: float, activation: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    u = _gates(F.linear(x, weight), b)
    options = (scale, activation, False, False)
    h, last, _ = torch.ops.srulight.sru.default(u, skip, v, b, c0, None, None, *options)
    return h, last


def _fake_step(
    x: Tensor, _weight: Tensor, _skip: Tensor | None, _v: Tensor | None, b: Tensor, *_: object
) -> tuple[Tensor, Tensor]:
    return fake_outputs(x, x.size(0), x.size(1), b.size(1), False)[:2]


define_everywhere("sru_step", _step, _fake_step)

torch.library.define(
    "srulight::sru_fused",
    f"(Tensor x, Tensor weight, Tensor? skip, {STATE}, {MASKS}, {OPTIONS}, bool save, {TIME})"
    " -> (Tensor h, Tensor last, Tensor c, Tensor u)",
)


_SAVE = 6
"""Position of the argument ``save`` after ``b``; torch leaves out later ones with a default."""


def _fused(
    x: Tensor, weight: Tensor, skip: Tensor | None, v: Tensor | None, b: Tensor,
    *rest: Any,  # noqa: ANN401
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    u = _gates(F.linear(x, weight), b)
    *outputs, c = torch.ops.srulight.sru.default(u, skip, v, b, *rest)
    return *outputs, c, u if rest[_SAVE] else u.new_empty(0, 0, *u.shape[2:])


def _fake_fused(
    x: Tensor, weight: Tensor, _skip: Tensor | None, _v: Tensor | None, b: Tensor, *rest: Any  # noqa: ANN401
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    batch, steps, channels, save = x.size(0), x.size(1), b.size(1), rest[_SAVE]
    rows = (batch, steps) if save else (0, 0)
    u = x.new_empty(*rows, weight.size(0) // channels, channels)
    return *fake_outputs(x, batch, steps, channels, save), u


define_everywhere("sru_fused", _fused, _fake_fused)


def _gates(product: Tensor, b: Tensor) -> Tensor:
    """Views (B, T, K * D) as (B, T, K, D)."""
    return product.unflatten(-1, (product.size(-1) // b.size(1), b.size(1)))


def _fuses(x: Tensor, time_parallel: int) -> bool:
    """Returns whether the fused operator is faster; forced chunks of time need a u of all steps."""
    return x.device.type == "cpu" and time_parallel != 1 and fuses(x.dtype)


class _Layer(torch.autograd.Function):
    """Runs product and recurrence in one autograd node.

    The gradient of the product can then be accumulated onto that of the skip, without a separate
    sum.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        skip, v, b, c0, mask, lengths, *options, ctx.sparse = rest
        ctx.has_c0, ctx.skips_input = c0 is not None, skip is x
        if _fuses(x, options[-1]):
            h, last, c, u = torch.ops.srulight.sru_fused.default(x, weight, *rest[:-1])
        else:
            u = _gates(linear(x, weight), b)
            h, last, c = torch.ops.srulight.sru.default(u, *rest[:-1])
        save_for_backward(ctx, tuple(options), u, skip, v, b, mask, lengths, c, x, weight)
        return h, last

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        grad_h: Tensor | None,
        grad_last: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        grad_u, grad_skip, *others = recurrence_backward(ctx, grad_h, grad_last)
        x, weight = ctx.saved_tensors[7:]
        rows = grad_u.view(-1, weight.size(0))
        needs, onto = ctx.needs_input_grad[:2], None
        if needs[0] and ctx.skips_input and grad_skip is not None:
            onto, grad_skip = grad_skip.view(-1, x.size(2)), None
        products = backward_products if ctx.sparse is None else ctx.sparse
        grad_x, grad_weight = products(rows, x.reshape(-1, x.size(2)), weight, needs, onto)
        grad_x = None if grad_x is None else grad_x.view_as(x)
        return (grad_x, grad_weight, grad_skip, *others, *(None,) * 8)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _uncompiled(*arguments: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    return _Layer.apply(*arguments)  # type: ignore[no-untyped-call]


# Under autocast, one step of at most this many sequences runs in the dtype of the weight, because
# casting the weight would take longer than that saves.
_FEW_SEQUENCES = 8


def sru_layer(
    x: Tensor,
    weight: Matrix,
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
    sparse: SparseProducts | None = None,
) -> tuple[Tensor, Tensor]:
    """Runs a whole SRU layer: the matrix product of all steps, and ``sru`` on the result.

    Under ``torch.autocast`` the product and all stored tensors have the autocast dtype; states and
    sums are float32. A single step without gradients takes a faster path.

    Args:
        x: Inputs of the matrix product, (B, T, F).
        weight: Stacked matrices of the gates, (K * D, F).
        skip: Skip input, as in ``sru``.
        v: Peephole weights, as in ``sru``.
        b: Biases, as in ``sru``.
        c0: State before the first step, as in ``sru``.
        mask: Factor of the update, as in ``sru``.
        lengths: Number of real steps in each sequence, as in ``sru``.
        scale: Factor of ``skip``.
        activation: Activation, as in ``sru``.
        bidirectional: Whether the second half of the channels reads right to left.
        time_parallel: Whether to process chunks of time in parallel, as in ``sru``.
        sparse: The backward products; None for dense ones. A layer with sparse ones runs uncompiled
            under ``torch.compile``.

    Returns:
        Outputs, (B, T, D), in the dtype of the product, and the state after the last real step,
        (B, D).

    Raises:
        RuntimeError: If an argument has the wrong shape, dtype or device. The message names it.
        ValueError: If ``time_parallel`` has an unknown value.
    """
    parallel = time_parallel_code(time_parallel)
    compiling = torch.compiler.is_compiling()
    if x.dim() != 3 or x.size(2) != weight.size(1):
        expected = f"(batch, time, {weight.size(1)})"
        raise RuntimeError(f"x must have shape {expected}, got {tuple(x.shape)}")
    if x.device != weight.device:  # the product may succeed if one of them is on meta
        raise RuntimeError(f"x must be on the device of weight, {weight.device}, got {x.device}")
    activated = ACTIVATIONS.index(activation)
    if isinstance(weight, StoredMatrix):
        options = (mask, lengths, scale, activated, bidirectional)
        return _stored(x, weight, skip, v, b, c0, *options, parallel=parallel)
    step = x.size(1) == 1 and mask is None and lengths is None and not bidirectional
    save = needs_gradient(x, weight, skip, v, b, c0)
    dtype = out_dtype = x.dtype
    if autocasts(x):
        dtype = out_dtype = torch.get_autocast_dtype(x.device.type)
        if step and not save and not compiling and x.size(0) <= _FEW_SEQUENCES:
            dtype = weight.dtype
    inputs, matrix = cast(dtype, x, weight)
    (skip,) = (inputs,) if skip is x else cast(dtype, skip)
    v, bias, c0, mask = cast(wide(dtype), v, b, c0, mask)
    rest = (skip, v, bias, c0, mask, lengths, scale, activated, bidirectional)
    if transformed():
        u = _gates(F.linear(inputs, matrix), bias)
        return reference.sru(u, *rest, False)[:2]
    if save and sparse is not None and sparse.applies(inputs, matrix, v, bias):
        found: tuple[Tensor, Tensor] = _uncompiled(inputs, matrix, *rest, save, parallel, sparse)
        return found
    if save and not compiling:
        return _Layer.apply(inputs, matrix, *rest, save, parallel, None)  # type: ignore[no-untyped-call]
    if step and not save:
        h, last = torch.ops.srulight.sru_step.default(inputs, matrix, *rest[:4], *rest[6:8])
        return *cast(out_dtype, h), last
    if not save and not compiling and _fuses(inputs, parallel):
        h, last, *_ = torch.ops.srulight.sru_fused.default(inputs, matrix, *rest, save, parallel)
        return h, last
    multiply = product if compiling else linear  # a compiler chooses the library itself
    u = _gates(multiply(inputs, matrix), bias)
    h, last, _ = torch.ops.srulight.sru.default(u, *rest, save, parallel)
    return h, last


def _stored(
    x: Tensor,
    weight: StoredMatrix,
    skip: Tensor | None,
    v: Tensor | None,
    b: Tensor,
    c0: Tensor | None,
    mask: Tensor | None,
    *rest: Any,  # noqa: ANN401
    parallel: int,
) -> tuple[Tensor, Tensor]:
    """Does what ``sru_layer`` does, in the dtype of ``x``; autocast has no effect."""
    u = weight(x)
    (skip,) = cast(u.dtype, skip)
    v, bias, c0, mask = cast(wide(u.dtype), v, b, c0, mask)
    state = (skip, v, bias, c0, mask)
    save = needs_gradient(u, skip, v, bias, c0)
    h, last, _ = torch.ops.srulight.sru.default(_gates(u, bias), *state, *rest, save, parallel)
    return h, last
