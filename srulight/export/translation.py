"""How operators are translated to ONNX: their arguments, and the table of translations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx

from srulight.export.onnx_graph import TYPES, Graph, Name

Translation = Callable[["Call"], Any]

OPERATORS: dict[str, Translation] = {}
"""Translations by the name of the operator, such as ``aten.add``."""


class Call:
    """A call of an operator in an exported program.

    Args:
        g: Graph to add nodes to.
        node: The call.
        names: Name of each tensor that was computed before, by its node.
    """

    def __init__(self, g: Graph, node: fx.Node, names: dict[fx.Node, Any]) -> None:
        self.g, self.node, self._names = g, node, names
        assert isinstance(node.target, torch._ops.OpOverload)
        self.arguments = node.target._schema.arguments

    def raw(self, place: int) -> Any:  # noqa: ANN401
        """Returns an argument as the program contains it, or its default value."""
        if place < len(self.node.args):
            return self.node.args[place]
        argument = self.arguments[place]
        return self.node.kwargs.get(argument.name, argument.default_value)

    def get(self, place: int) -> Any:  # noqa: ANN401
        """Returns an argument: the name of a tensor, a number, a size, or a list of them."""
        return self._converted(self.raw(place))

    def _converted(self, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, fx.Node):
            own = value.meta["val"]
            return own if isinstance(own, int | torch.SymInt) else self._names[value]
        if isinstance(value, list | tuple):
            return [self._converted(one) for one in value]
        return value

    def meta(self, place: int | None = None) -> Any:  # noqa: ANN401
        """Returns shape and type of an argument, or of the result."""
        node = self.node if place is None else self.raw(place)
        return node.meta["val"]

    def number(self, place: int, dtype: torch.dtype | None = None) -> Name:
        """Returns the name of a tensor, or of a constant with the type of the result."""
        value = self.get(place)
        dtype = dtype or self.meta().dtype
        if isinstance(value, str):
            tensor: Name = self.cast(value, self.meta(place).dtype, dtype)
            return tensor
        if isinstance(value, torch.SymInt):
            return self.cast(self.g.size(value), torch.int64, dtype)
        return self.g.constant(value, numpy_type(dtype))

    def cast(self, name: Name, was: torch.dtype, dtype: torch.dtype) -> Name:
        """Converts a tensor to another type."""
        return name if was == dtype else self.g.op("Cast", name, to=TYPES[dtype])

    def axis(self, place: int, of: int = 0) -> int:
        """Returns a dimension, counted from the first."""
        dim: int = self.get(place)
        return dim % max(self.meta(of).dim(), 1)

    def reshaped(self, name: Name | None = None) -> Name:
        """Reshapes the first argument, or another tensor, to the shape of the result."""
        return self.g.reshape(name or self.get(0), self.meta().shape)


def numpy_type(dtype: torch.dtype) -> Any:  # noqa: ANN401
    """Returns the type of NumPy for one of PyTorch."""
    return np.dtype(str(dtype).removeprefix("torch."))


def translates(*names: str) -> Callable[[Translation], Translation]:
    """Registers a translation of some operators."""

    def register(translation: Translation) -> Translation:
        OPERATORS.update({f"aten.{name}": translation for name in names})
        return translation

    return register
