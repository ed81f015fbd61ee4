"""A matrix of 4-bit indices into codebooks."""

from functools import cache

import torch
from torch import Tensor, nn

from srulight.ops import extension
from srulight.ops.codebook import ENTRIES, codebook_linear, entries, groups, pack, unpack
from srulight.ops.fixed_point import MOST_BITS, to_fixed_point
from srulight.ops.sru import is_exporting
from srulight.quantization.clustering import cluster
from srulight.quantization.integer import HIGHEST
from srulight.quantization.matrix import QuantizedMatrix
from srulight.quantization.overflow import followed

FEW = 16
"""Largest number of rows of activations whose product is computed by looking up integers.

On an AMD EPYC with AVX2, a product of 16 rows takes 0.4 to 0.8 times the time of floats if the
matrix has at least 512 columns, and one of 32 rows 0.7 to 1.1 times
(``python benchmarks/codebook_products.py``, 2026-11-30). With fewer columns, floats are faster, but
rounding the activations outside of the kernel takes what they save.
"""


class CodebookMatrix(QuantizedMatrix):
    """A matrix of 4-bit indices into codebooks of 16 integers from -127 to 127.

    Every row has a scale, and groups of rows share a codebook. Activations are rounded to dynamic
    fixed point, whose fraction length is one of the whole layer, or one of each row of activations.
    On a CPU with AVX2 and compiled kernels, the product of a few rows is a sum of integers.
    Other products use the floats that the integers stand for, and the same rounded activations, so
    they differ from it by roundings of float32 only.

    Args:
        indices: Indices, two in a byte, (N, ceil(F / 2)) uint8.
        codebook: Codebooks, (G, 16) int8, where G is 1 to N.
        scale: Scale of each row, (N,) float32.
        features: Number of features F.
        activation_bits: Bits of an activation, 4 to 16.
        fraction: Fraction length of the activations, () int64. None means that each row of
            activations has its own.

    Attributes:
        indices: The indices; a buffer.
        codebook: The codebooks; a buffer.
        scale: The scales; a buffer.
        fraction: The fraction length or None; a buffer.
        trained: The codebooks divided by 127, (G, 16) float32, while they are being fine-tuned.
        observing: Whether the fraction length follows the activations, which are not rounded
            meanwhile.
    """

    indices: Tensor
    codebook: Tensor
    fraction: Tensor | None

    def __init__(
        self,
        indices: Tensor,
        codebook: Tensor,
        scale: Tensor,
        features: int,
        activation_bits: int = MOST_BITS,
        fraction: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.shape = torch.Size([len(indices), features])
        self.activation_bits = activation_bits
        self.register_buffer("indices", indices)
        self.register_buffer("codebook", codebook)
        self.register_buffer("scale", scale)
        self.register_buffer("fraction", fraction)
        self.register_parameter("trained", None)
        self.observing = False
        self.forget()

    @classmethod
    def of(
        cls, weight: Tensor, codebook_rows: int = 1, activation_bits: int = MOST_BITS
    ) -> "CodebookMatrix":
        """Approximates a weight.

        Args:
            weight: The weight, (N, F).
            codebook_rows: Largest number of rows that share a codebook.
            activation_bits: Bits of an activation, 4 to 16.
        """
        indices, codebook, scale = cluster(weight, codebook_rows)
        return cls(pack(indices), codebook, scale, weight.size(1), activation_bits)

    @property
    def integers(self) -> Tensor:
        return entries(self.indices, self.codebook, self.shape[1])

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        if x.numel() and self._follows():
            found = followed(x, self.cached("fraction", self._fraction), self.activation_bits)
            self.fraction = torch.tensor(found, device=self.device)
            self._cache["fraction"] = found
        if self.observing:
            return self.by_floats(x, bias)
        fraction = self.cached("fraction", self._fraction)
        if not self._with_integers(x):
            return self.by_floats(_rounded(x, fraction, self.activation_bits), bias)
        y = codebook_linear(
            x.reshape(-1, self.shape[1]).float(), self.indices, self.codebook,
            self.scale.float(), fraction, self.activation_bits,
        )  # fmt: skip
        y = y if bias is None else y.add_(bias)
        return y.view(*x.shape[:-1], self.shape[0]).to(x.dtype)

    def rows(self, indices: Tensor) -> Tensor:
        wanted = indices.flatten()
        group = groups(len(self), len(self.codebook), self.device)[wanted]
        places = unpack(self.indices[wanted], self.shape[1]).long()
        found = self._codebook()[group].gather(1, places) * self.scale[wanted].unsqueeze(1)
        return found.view(*indices.shape, -1)

    def dense(self) -> Tensor:
        return entries(self.indices, self._codebook(), self.shape[1]) * self.scale.unsqueeze(1)

    def observe(self) -> None:
        self.observing = True
        self.fraction = None
        self.forget()

    def set_range(self) -> bool:
        self.observing = False
        return self.fraction is not None

    def train_codebook(self) -> None:
        """Makes the codebooks a parameter, until ``keep_codebook``; indices and scales stay."""
        self.trained = nn.Parameter(self.codebook / HIGHEST)

    def keep_codebook(self) -> None:
        """Ends the training of the codebooks, and keeps what it found."""
        if self.trained is not None:
            self.codebook = self._codebook().detach().to(torch.int8)
            self.trained = None
            self.forget()

    def extra_repr(self) -> str:
        rows, features = self.shape
        ranges = "dynamic" if self.fraction is None else "calibrated"
        return (
            f"{rows}, {features}, bits=4, codebooks={len(self.codebook)}, "
            f"activation_bits={self.activation_bits}, activations={ranges}"
        )

    def _follows(self) -> bool:
        trains = self.trained is not None and self.training and self.fraction is not None
        return self.observing or trains

    def _codebook(self) -> Tensor:
        """Returns the codebooks as numbers that are integers, (G, 16), with a gradient."""
        if self.trained is None:
            return self.codebook
        scaled = self.trained * HIGHEST
        # The gradient is that of the numbers before they are rounded.
        return scaled + (scaled.round().clamp(-HIGHEST, HIGHEST) - scaled).detach()

    def _fraction(self) -> int | None:
        return None if self.fraction is None else int(self.fraction)

    def _with_integers(self, x: Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and x.dtype != torch.float64
            and x.numel() <= FEW * self.shape[1]
            and self.trained is None
            and not torch.compiler.is_compiling()
            and not is_exporting()
            and _has_fast_kernel()
        )


@cache
def _has_fast_kernel() -> bool:
    """Returns whether the kernel looks up many weights at a time; otherwise floats are faster."""
    return extension.cpu_level() not in ("", "baseline")


def _rounded(x: Tensor, fraction: int | None, bits: int) -> Tensor:
    """Rounds activations, (..., F), to fixed point.

    The gradient is that of the identity for activations within the range, and otherwise 0.
    """
    rows = x.detach().reshape(-1, x.size(-1)).float()
    integers, step = to_fixed_point(rows, fraction, bits)
    found = (integers * step).view(x.shape).to(x.dtype)
    if not (x.requires_grad and torch.is_grad_enabled()):
        return found
    inside = ((integers * step - rows).abs() <= step / 2).view(x.shape)
    return torch.where(inside, x + (found - x).detach(), found)


def blank(
    matrix: Tensor, codebooks: int, activation_bits: int, has_fraction: bool
) -> CodebookMatrix:
    """Returns the form of a matrix, (N, F), without numbers, which a checkpoint then provides.

    Args:
        matrix: The matrix.
        codebooks: Number of codebooks.
        activation_bits: Bits of an activation.
        has_fraction: Whether the activations have a fixed fraction length.
    """
    rows, features = matrix.shape
    return CodebookMatrix(
        matrix.new_zeros(rows, (features + 1) // 2, dtype=torch.uint8),
        matrix.new_zeros(codebooks, ENTRIES, dtype=torch.int8),
        matrix.new_zeros(rows, dtype=torch.float32),
        features,
        activation_bits,
        matrix.new_zeros((), dtype=torch.int64) if has_fraction else None,
    )
