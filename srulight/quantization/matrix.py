"""A matrix of 8-bit integers that stands in for a weight or a table of embeddings."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.ops.product import StoredMatrix, linear
from srulight.ops.sru import is_exporting
from srulight.quantization.integer import (
    levels,
    multiply,
    packed,
    round_rows,
    round_to_range,
    round_weight,
)

FEW = 20_000_000
"""Products of fewer multiplications than this are computed in floats, which is faster.

On an AMD EPYC with AVX2 and without VNNI, an integer product of 12.6 million multiplications takes
0.8 to 1.4 times the time of floats, and one of 25 million 0.9 times
(``python benchmarks/quantized_layers.py``, 2026-11-29).
"""


class QuantizedMatrix(StoredMatrix):
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
    scale: Tensor
    range: Tensor | None
    _dense: Tensor | None
    _packed: Tensor | None
    _ends: tuple[float, float] | None

    def __init__(self, values: Tensor, scale: Tensor, range: Tensor | None = None) -> None:
        super().__init__()
        self.shape = values.shape
        self.register_buffer("values", values)
        self.register_buffer("scale", scale)
        self.register_buffer("range", range)
        self.observed: tuple[float, float] | None = None
        self._forget()

    @classmethod
    def of(cls, weight: Tensor) -> "QuantizedMatrix":
        """Rounds a weight, (N, F)."""
        return cls(*round_weight(weight))

    @property
    def device(self) -> torch.device:
        return self.values.device

    @property
    def dtype(self) -> torch.dtype:
        return self.scale.dtype

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.observed is not None and x.numel():
            low, high = (end.item() for end in x.detach().aminmax())
            self.observed = min(low, self.observed[0]), max(high, self.observed[1])
        if not self._with_integers(x):
            weight = self._floats()
            weight = weight if weight.dtype == x.dtype else weight.to(x.dtype)
            if bias is None and not torch.compiler.is_compiling():
                return linear(x, weight)
            return F.linear(x, weight, bias)
        rows = x.reshape(-1, self.shape[1]).float()
        if self._packed is None:
            self._prepare()
        assert self._packed is not None
        rounded = round_rows(rows) if self._ends is None else round_to_range(rows, *self._ends)
        scale = self.scale.float()  # no copy unless the whole model has another type
        y = multiply(rounded, self._packed, scale, None if bias is None else bias.float())
        return y.view(*x.shape[:-1], self.shape[0]).to(x.dtype)

    def rows(self, indices: Tensor) -> Tensor:
        return self.values[indices] * self.scale[indices].unsqueeze(-1)

    def dense(self) -> Tensor:
        return self.values * self.scale.unsqueeze(1)

    def set_range(self) -> None:
        """Makes what was observed the range of activations, and ends the calibration.

        A matrix that observed nothing keeps a range for each row of activations.
        """
        assert self.observed is not None
        low, high = self.observed
        self.observed = None
        if 0 < high - low < torch.inf:
            self.range = torch.tensor([low, high], device=self.device)
            self._forget()

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

    def _floats(self) -> Tensor:
        """Returns ``dense()``, which is computed once, but in each run of an exported program."""
        if torch.compiler.is_compiling() or is_exporting():
            return self.dense()
        if self._dense is None:
            # Tensors that are created in inference mode could not be used outside of it.
            with torch.inference_mode(False), torch.no_grad():
                self._dense = self.dense()
        return self._dense

    def _prepare(self) -> None:
        with torch.inference_mode(False), torch.no_grad():
            self._packed = packed(self.values)
        if self.range is not None:
            low, high = self.range.tolist()
            self._ends = (low, high)

    def _forget(self) -> None:
        """Drops what was computed from the buffers, because they change."""
        self._dense = self._packed = self._ends = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "QuantizedMatrix":
        self._forget()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self._forget()
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        # Packed weights can be neither copied nor pickled.
        return {**self.__dict__, "_dense": None, "_packed": None, "_ends": None}


class QuantizedLinear(nn.Module):
    """A linear map with a quantized weight, in place of ``torch.nn.Linear``.

    Args:
        weight: The weight, (N, F).
        bias: Bias, (N,), or None.
    """

    def __init__(self, weight: QuantizedMatrix, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = weight
        self.bias: nn.Parameter | None
        self.register_parameter("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x, (..., F), to (..., N)."""
        y: Tensor = self.weight(x, self.bias)
        return y


class QuantizedEmbedding(nn.Module):
    """A quantized table of embeddings, in place of ``torch.nn.Embedding``.

    Args:
        weight: The table, (N, F).
    """

    def __init__(self, weight: QuantizedMatrix) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = weight.shape
        self.weight = weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Looks up the embeddings, (..., F), of token ids, (...) int64."""
        return self.weight.rows(tokens)
