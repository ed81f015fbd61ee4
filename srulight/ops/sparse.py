"""Sparse backward products: a matrix product whose gradient is computed from its largest parts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.ops.product import backward_products
from srulight.ops.sru import autocasts, cast, needs_gradient, transformed
from srulight.runtime.errors import InputError, check_range


@dataclass(frozen=True)
class SparseSettings:
    """Which part of the gradient of the gates the two matrix products of the backward pass use.

    The gradient of the gates' inputs, (B, T, G), is multiplied by the weights and by the inputs of
    the layer. Small entries of it change little, so that the products may leave them out: Zhu et
    al. (2016), Training Long Short-Term Memory With Sparsified Stochastic Gradient Descent, and
    Structurally Sparsified Backward Propagation for Faster Long Short-Term Memory Training
    (arXiv 1806.00512), which leaves out whole rows or columns, so that the products become smaller.
    Gradients of biases, of peepholes and of states are computed from the whole gradient.

    The defaults keep everything. Set ``share`` or ``threshold``, not both.

    Args:
        kind: What is kept or left out: "rows", each of which belongs to a step of a sequence (the
            products then have fewer rows); "units", each of which belongs to a unit of a gate (the
            products then have fewer columns); or "elements", for studies, because the products then
            take as long as before.
        share: Share of the rows or units to keep, above 0 and up to 1: those with the largest
            norms. Rows and units whose gradient is zero, such as padding, do not count.
        threshold: Smallest norm of what is kept, as a multiple of the root mean square of all norms
            that are not zero, at least 0. The norm of an element is its absolute value.

    Raises:
        InputError: If a number is out of range, if both are set, or if ``share`` is below 1 for
            elements.
    """

    kind: Literal["rows", "units", "elements"] = "rows"
    share: float = 1.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("rows", "units", "elements"):
            raise InputError(f"kind must be rows, units or elements, got {self.kind!r}")
        check_range(0, 1, share=self.share)
        check_range(0, threshold=self.threshold)
        if self.share == 0:
            raise InputError("share must be above 0, got 0; leave out less of the gradient")
        if self.share < 1 and self.threshold > 0:
            raise InputError(
                f"expected either a share below 1 or a threshold above 0, got share={self.share} "
                f"and threshold={self.threshold}; leave one of them out"
            )
        if self.share < 1 and self.kind == "elements":
            raise InputError(
                f"share must be 1 for kind=elements, got {self.share}; set threshold instead"
            )

    @property
    def keeps_all(self) -> bool:
        """Whether the products use the whole gradient."""
        return self.share == 1 and self.threshold == 0


class SparseProducts(nn.Module):
    """The sparse backward products of one layer, and how much of the gradient they used.

    Gradients are sparse only in training mode.

    Args:
        settings: What the products use.

    Attributes:
        active: Whether the products are sparse; otherwise they use the whole gradient.
        kept: Number of rows, units or elements that were used since it was last set to 0.
        total: Number of those that were not zero.
    """

    def __init__(self, settings: SparseSettings) -> None:
        super().__init__()
        self.settings = settings
        self.active = True
        self.kept = self.total = 0

    @staticmethod
    def of(settings: SparseSettings) -> "SparseProducts | None":
        """Returns what a layer with these settings needs: None if they keep everything."""
        return None if settings.keeps_all else SparseProducts(settings)

    def applies(self, *tensors: Tensor | None) -> bool:
        """Returns whether the gradients of these tensors will be sparse."""
        return self.active and self.training and needs_gradient(*tensors) and not transformed()

    def forward(
        self,
        grad: Tensor,
        x: Tensor,
        weight: Tensor,
        needs: Sequence[bool] = (True, True),
        onto: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Computes the gradients of x and weight from the largest parts of ``grad``.

        Args:
            grad: Gradient of ``x @ weight.T``, (N, G).
            x: Rows, (N, F).
            weight: Matrix, (G, F).
            needs: Which of the two gradients to compute.
            onto: Gradient to add to that of x, in place, (N, F). None means zeros.

        Returns:
            Gradients of x, (N, F), and of weight, (G, F), or None.
        """
        if self.settings.kind == "elements":
            grad = grad.masked_fill(self._below(grad.abs()), 0)
            return backward_products(grad, x, weight, needs, onto)
        if self.settings.kind == "rows":
            return self._by_rows(grad, x, weight, needs, onto)
        units = self._largest(_unit_norms(grad))
        if len(units) == grad.size(1):
            return backward_products(grad, x, weight, needs, onto)
        part = grad.index_select(1, units), x, weight.index_select(0, units)
        grad_x, grad_part = backward_products(*part, needs, onto)
        if grad_part is None:
            return grad_x, None
        return grad_x, torch.zeros_like(weight).index_copy_(0, units, grad_part)

    def _by_rows(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool], onto: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        rows = self._largest(torch.linalg.vector_norm(grad, dim=1))
        if len(rows) == len(grad):
            return backward_products(grad, x, weight, needs, onto)
        part = grad.index_select(0, rows), x.index_select(0, rows) if needs[1] else x, weight
        grad_part, grad_weight = backward_products(*part, needs)
        if grad_part is None:
            return None, grad_weight
        whole = torch.zeros_like(x) if onto is None else onto
        return whole.index_add_(0, rows, grad_part), grad_weight

    def _largest(self, norms: Tensor) -> Tensor:
        """Returns the indices of the norms to keep, in their order, (n,)."""
        if self.settings.share == 1:
            return self._below(norms).logical_not_().nonzero().flatten()
        total = int(norms.count_nonzero())
        count = math.ceil(self.settings.share * total)
        self.kept, self.total = self.kept + count, self.total + total
        return norms.topk(count, sorted=False).indices.sort().values

    def _below(self, norms: Tensor) -> Tensor:
        """Returns which norms are below the threshold. One that is not a number never is."""
        total = int(norms.count_nonzero())
        mean_square = norms.float().square().sum() / max(1, total)
        below = norms < self.settings.threshold * mean_square.sqrt()
        # Zeros are below a threshold unless it is zero as well.
        self.kept += int((~below & (norms != 0)).sum())
        self.total += total
        return below

    def extra_repr(self) -> str:
        s = self.settings
        amount = f"share={s.share}" if s.share < 1 else f"threshold={s.threshold}"
        return f"kind={s.kind}, {amount}"


def _unit_norms(grad: Tensor) -> Tensor:
    """Returns the norm of each column, (G,) float32 or more.

    A sum over blocks of rows that fit into the cache is ten times as fast as torch's norm.
    """
    blocks = grad.split(64)
    squares = blocks[0].new_zeros(min(64, len(grad)), grad.size(1)).float()
    if grad.dtype == torch.float64:
        squares = squares.double()
    for block in blocks:
        wide = block.to(squares.dtype)
        squares[: len(block)].addcmul_(wide, wide)
    return squares.sum(0).sqrt_()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        sparse: SparseProducts,
    ) -> Tensor:
        ctx.sparse = sparse
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        rows = grad.reshape(-1, len(weight))
        needs = ctx.needs_input_grad
        grad_x, grad_weight = ctx.sparse(rows, x.reshape(-1, x.size(-1)), weight, needs[:2])
        grad_bias = rows.sum(0) if needs[2] else None
        return None if grad_x is None else grad_x.view_as(x), grad_weight, grad_bias, None


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _sparse_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, sparse: SparseProducts
) -> Tensor:
    if autocasts(x):
        x, weight, bias = cast(torch.get_autocast_dtype(x.device.type), x, weight, bias)
    found: Tensor = _Linear.apply(x, weight, bias, sparse)  # type: ignore[no-untyped-call]
    return found


def sparse_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, sparse: SparseProducts | None
) -> Tensor:
    """Does what ``torch.nn.functional.linear`` does, with sparse backward products.

    The gradient of the bias is dense. Under ``torch.compile`` the product runs uncompiled.

    Args:
        x: Inputs, (..., F).
        weight: Matrix, (G, F).
        bias: Biases, (G,), or None.
        sparse: The backward products; None for dense ones.

    Returns:
        Outputs, (..., G).
    """
    if sparse is None or not sparse.applies(x, weight, bias):
        return F.linear(x, weight, bias)
    found: Tensor = _sparse_linear(x, weight, bias, sparse)
    return found
