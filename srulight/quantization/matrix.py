"""A matrix of integers that stands in for a weight or a table of embeddings."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.ops.product import StoredMatrix, linear
from srulight.ops.sru import is_exporting


class QuantizedMatrix(StoredMatrix, ABC):
    """A matrix of integers from -127 to 127, with one scale per row.

    Attributes:
        scale: The scales, (N,) float32; a buffer.
        trained: What fine-tuning changes, or None if the matrix is not being fine-tuned.
    """

    scale: Tensor
    trained: nn.Parameter | None
    _cache: dict[str, Any]

    @property
    @abstractmethod
    def integers(self) -> Tensor:
        """The integers, (N, F) int8."""

    @abstractmethod
    def observe(self) -> None:
        """Begins to collect the range of the activations."""

    @abstractmethod
    def set_range(self) -> bool:
        """Ends the collection; returns whether the activations have a fixed range now."""

    @property
    def device(self) -> torch.device:
        return self.scale.device

    @property
    def dtype(self) -> torch.dtype:
        return self.scale.dtype

    def by_floats(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Multiplies by the floats that the integers stand for.

        Args:
            x: Rows to multiply, (..., F).
            bias: Numbers to add to each row of the product, (N,).
        """
        changes = self.trained is not None or torch.compiler.is_compiling() or is_exporting()
        weight = self.dense() if changes else self.cached("dense", self.dense)
        weight = weight if weight.dtype == x.dtype else weight.to(x.dtype)
        if bias is None and not changes:
            return linear(x, weight)
        return F.linear(x, weight, bias)

    def cached(self, name: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Returns what ``make`` computes from the buffers, which it does once.

        Args:
            name: Name of the result.
            make: Computes the result.
        """
        if name not in self._cache:
            # Tensors that are created in inference mode could not be used outside of it.
            with torch.inference_mode(False), torch.no_grad():
                self._cache[name] = make()
        found = self._cache[name]
        return found

    def forget(self) -> None:
        """Drops what was computed from the buffers, because they change."""
        self._cache = {}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "QuantizedMatrix":
        self.forget()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self.forget()
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}  # packed weights can be neither copied nor pickled


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
