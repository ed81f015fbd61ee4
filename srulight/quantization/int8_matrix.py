"""A matrix of 8-bit integers."""

import torch
from torch import Tensor

from srulight.ops.sru import is_exporting
from srulight.quantization.integer import (
    levels,
    multiply,
    packed,
    round_rows,
    round_to_range,
    round_weight,
)
from srulight.quantization.matrix import QuantizedMatrix

FEW = 20_000_000
"""Products of fewer multiplications than this are computed in floats, which is faster.

On an AMD EPYC with AVX2 and without VNNI, an integer product of 12.6 million multiplications takes
0.8 to 1.4 times the time of floats, and one of 25 million 0.9 times
(``python benchmarks/quantized_layers.py``, 2026-11-29).
"""


class Int8Matrix(QuantizedMatrix):
    """A matrix of integers from -127 to 127, with one scale per row.

    On a CPU, a large product is computed with integers; its activations are rounded to 8 bits, or
    to 7 where ``levels`` says so. Small products, and all products on other devices and in exported
    programs, are computed with the floats that the integers stand for.

    Args:
        values: The integers, (N, F) int8.
        scale: Scale of each row, (N,) float32.
        range: Smallest and largest activation, (2,) float32. None means that each row of
            activations has a range of its own.

    Attributes:
        values: The integers; a buffer.
        scale: The scales; a buffer.
        range: The range of activations or None; a buffer.
        observed: Smallest and largest activation while the matrix is being calibrated, otherwise
            None.
    """

    values: Tensor
    range: Tensor | None

    def __init__(self, values: Tensor, scale: Tensor, range: Tensor | None = None) -> None:
        super().__init__()
        self.shape = values.shape
        self.register_buffer("values", values)
        self.register_buffer("scale", scale)
        self.register_buffer("range", range)
        self.trained = None
        self.observed: tuple[float, float] | None = None
        self.forget()

    @classmethod
    def of(cls, weight: Tensor) -> "Int8Matrix":
        """Rounds a weight, (N, F)."""
        return cls(*round_weight(weight))

    @property
    def integers(self) -> Tensor:
        return self.values

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.observed is not None and x.numel():
            low, high = (end.item() for end in x.detach().aminmax())
            self.observed = min(low, self.observed[0]), max(high, self.observed[1])
        if not self._with_integers(x):
            return self.by_floats(x, bias)
        rows = x.reshape(-1, self.shape[1]).float()
        weight = self.cached("packed", lambda: packed(self.values))
        ends = self.cached("ends", self._ends)
        rounded = round_rows(rows) if ends is None else round_to_range(rows, *ends)
        scale = self.scale.float()  # no copy unless the whole model has another type
        y = multiply(rounded, weight, scale, None if bias is None else bias.float())
        return y.view(*x.shape[:-1], self.shape[0]).to(x.dtype)

    def rows(self, indices: Tensor) -> Tensor:
        return self.values[indices] * self.scale[indices].unsqueeze(-1)

    def dense(self) -> Tensor:
        return self.values * self.scale.unsqueeze(1)

    def floats(self, rows: int, dtype: torch.dtype) -> Tensor | None:
        changes = self.observed is not None or self.trained is not None
        if changes or rows * self.shape.numel() >= FEW or dtype != self.dtype:
            return None
        found: Tensor = self.cached("dense", self.dense)
        return found

    def observe(self) -> None:
        self.observed = (0.0, 0.0)  # padding needs 0

    def set_range(self) -> bool:
        """Makes what was observed the range of activations, and ends the calibration.

        A matrix that observed nothing keeps a range for each row of activations.
        """
        assert self.observed is not None
        low, high = self.observed
        self.observed = None
        if 0 < high - low < torch.inf:
            self.range = torch.tensor([low, high], device=self.device)
            self.forget()
        return self.range is not None

    def extra_repr(self) -> str:
        rows, features = self.shape
        ranges = "dynamic" if self.range is None else "calibrated"
        return f"{rows}, {features}, bits=8, activations={ranges}"

    def _with_integers(self, x: Tensor) -> bool:
        return (
            x.numel() * self.shape[0] >= FEW
            and x.device.type == "cpu"
            and self.observed is None
            and x.dtype != torch.float64
            and not torch.compiler.is_compiling()
            and not is_exporting()
            and levels() > 0
        )

    def _ends(self) -> tuple[float, float] | None:
        if self.range is None:
            return None
        low, high = self.range.tolist()
        return low, high
