"""Matrix products with the library that is faster on this processor, or of stored matrices."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.ops.sru import autocasts, is_exporting


@cache
def _onednn_is_faster() -> bool:
    """Returns whether this processor is AMD's and torch has oneDNN.

    For float32 on x86-64 torch uses MKL, which is tuned for Intel's processors. On AMD's, oneDNN
    needs 2 to 14 % less time (``srulight bench --contenders products F.linear --reference
    F.linear``).
    """
    try:
        amd = "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return amd and torch.backends.mkldnn.is_available()


# Below this many multiplications, oneDNN takes longer to set up a product than it saves.
_SMALL = 10_000_000


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() * weight.size(0) > _SMALL
        and _onednn_is_faster()
        and bool(torch.backends.mkldnn.enabled)
    )


def _slow_types() -> tuple[torch.dtype, ...]:
    if not torch.backends.mkldnn.is_available():
        return ()  # other libraries have not been measured
    onednn = torch.ops.mkldnn
    fast = {
        torch.bfloat16: onednn._is_mkldnn_bf16_supported(),
        torch.float16: onednn._is_mkldnn_fp16_supported(),
    }
    return tuple(dtype for dtype in fast if not fast[dtype])


# Not computed on demand, because torch.compile cannot trace that.
SLOW_TYPES = _slow_types()
"""The half types in which oneDNN cannot compute on this processor.

torch then multiplies matrices in plain loops. The three products of a layer in training take 20 to
50 times as long as in float32 (``benchmarks/fused.py --training``).
"""


def _widens(dtype: torch.dtype, device: torch.device) -> bool:
    """Returns whether a product is computed in float32, and then rounded to its dtype."""
    return dtype in SLOW_TYPES and device.type == "cpu"


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Multiplies x, (..., F), by the transpose of a weight, (N, F), without gradients."""
    if _widens(x.dtype, x.device):
        with torch.autocast("cpu", enabled=False):
            return linear(x.float(), weight.float()).to(x.dtype)
    if _by_onednn(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return F.linear(x, weight)


def linear_plus(x: Tensor, weight: Tensor, other: Tensor) -> Tensor:
    """Adds ``linear`` of x, (M, F), to ``other``, (M, N), in one pass that may overwrite it."""
    if _by_onednn(x, weight):
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, weight, None, "add")
    return other.addmm_(x, weight.t())


def backward_products(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    needs: Sequence[bool] = (True, True),
    onto: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Computes the gradients of x and weight from that of ``linear(x, weight)``.

    Args:
        grad: Gradient of the product, (M, N).
        x: Rows, (M, F).
        weight: Matrix, (N, F).
        needs: Which of the two gradients to compute.
        onto: Gradient to add to that of x, (M, F), which may be overwritten. None means zeros.

    Returns:
        Gradients of x, (M, F), and of weight, (N, F); None for one that is not needed.
    """
    if _widens(grad.dtype, grad.device):  # here, so that each factor is cast once
        wide = None if onto is None else onto.float()
        with torch.autocast("cpu", enabled=False):
            both = backward_products(grad.float(), x.float(), weight.float(), needs, wide)
        grad_x, grad_weight = (None if t is None else t.to(grad.dtype) for t in both)
        return grad_x, grad_weight
    grad_x = None
    if needs[0]:
        back = weight.t()
        grad_x = linear(grad, back) if onto is None else linear_plus(grad, back, onto)
    return grad_x, grad.t() @ x if needs[1] else None


class StoredMatrix(nn.Module, ABC):
    """A matrix, (N, F), in another form than one tensor of floats, such as 8-bit integers.

    The layers of srulight accept it in place of a weight or of a table of embeddings. It has no
    gradients itself, but what it is made of may have some.

    Attributes:
        shape: The sizes N and F.
    """

    shape: torch.Size

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device of the stored numbers."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Type of the numbers that it stands for, which is also that of ``dense``."""

    @abstractmethod
    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Multiplies by the transpose of the matrix.

        Args:
            x: Rows to multiply, (..., F).
            bias: Numbers to add to each row of the product, (N,).

        Returns:
            The product, (..., N), in the dtype of ``x``.
        """

    @abstractmethod
    def rows(self, indices: Tensor) -> Tensor:
        """Returns rows of the matrix.

        Args:
            indices: Numbers of the rows, (...) int64.

        Returns:
            Rows, (..., F).
        """

    @abstractmethod
    def dense(self) -> Tensor:
        """Returns the matrix as one tensor of floats, (N, F)."""

    def floats(self, rows: int, dtype: torch.dtype) -> Tensor | None:
        """Returns the matrix, (N, F), if a product is computed with nothing but its floats.

        Args:
            rows: Number of rows of the other factor.
            dtype: Dtype of these rows.

        Returns:
            The matrix, or None if the product is computed in another way.
        """
        return None

    def size(self, dim: int) -> int:
        """Returns one of the sizes N and F.

        Args:
            dim: 0 for N, 1 for F.
        """
        return self.shape[dim]

    def __len__(self) -> int:
        """Returns N."""
        return self.shape[0]


Matrix: TypeAlias = Tensor | StoredMatrix
"""A weight or a table of embeddings, (N, F)."""


def product(x: Tensor, matrix: Matrix, bias: Tensor | None = None) -> Tensor:
    """Multiplies x, (..., F), by the transpose of a matrix, (N, F), and adds a bias, (N,).

    The result has the dtype of ``x``, or that of autocast.
    """
    if isinstance(matrix, Tensor):
        dtype = torch.get_autocast_dtype(x.device.type) if autocasts(x) else x.dtype
        if not _widens(dtype, x.device) or is_exporting():
            return F.linear(x, matrix, bias)
        with torch.autocast("cpu", enabled=False):
            bias = None if bias is None else bias.float()
            return F.linear(x.float(), matrix.float(), bias).to(dtype)
    found: Tensor = matrix(x, bias)
    return found


def lookup(indices: Tensor, table: Matrix) -> Tensor:
    """Returns the rows, (..., F), of a table, (N, F), whose numbers are ``indices``, (...)."""
    return F.embedding(indices, table) if isinstance(table, Tensor) else table.rows(indices)


def dense(matrix: Matrix) -> Tensor:
    """Returns a matrix, (N, F), as one tensor of floats."""
    return matrix if isinstance(matrix, Tensor) else matrix.dense()
