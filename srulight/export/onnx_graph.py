"""Builds the graph of an ONNX model node by node."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import SymInt, Tensor

from srulight.runtime.errors import InputError

OPSET, IR = 18, 9
"""Versions of the operators and of the file format, which every ONNX Runtime since 1.14 reads."""

TYPES = {
    torch.float32: 1, torch.uint8: 2, torch.int32: 6, torch.int64: 7, torch.bool: 9,
    torch.float64: 11,
}  # fmt: skip
"""Numbers of the element types in the file format."""

Name = str
Size: TypeAlias = int | SymInt


@dataclass
class Graph:
    """Nodes and constants of a graph, in the order of computation.

    Attributes:
        sizes: Where to read each dynamic size: the symbol, the name of an input and its dimension.
        nodes: The nodes so far.
        constants: The weights and other constants so far, by name.
        count: Number of names that were made up so far.
    """

    sizes: dict[str, tuple[Name, int]] = field(default_factory=dict)
    nodes: list[Any] = field(default_factory=list)
    constants: dict[Name, np.ndarray] = field(default_factory=dict)
    _known: dict[Any, Name] = field(default_factory=dict)
    count: int = 0

    def new_name(self, hint: str) -> Name:
        """Returns a name that is not in use."""
        self.count += 1
        return f"{hint}_{self.count}"

    def op(self, kind: str, *inputs: Name | None, **attributes: Any) -> Name:  # noqa: ANN401
        """Adds a node with one output.

        Args:
            kind: Name of an operator of ONNX.
            *inputs: Names of its inputs; None for an optional one that is left out.
            **attributes: Its attributes.

        Returns:
            The name of its output.
        """
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(
        self, kind: str, outputs: int, *inputs: Name | None, **attributes: Any  # noqa: ANN401
    ) -> list[Name]:  # fmt: skip
        """Adds a node with several outputs, as ``op`` does."""
        from onnx import helper

        names = [self.new_name(kind.lower()) for _ in range(outputs)]
        given = [name or "" for name in inputs]
        self.nodes.append(helper.make_node(kind, given, names, name=names[0], **attributes))
        return names

    def constant(self, value: Any, dtype: Any = np.int64) -> Name:  # noqa: ANN401
        """Adds a constant, once for each value.

        Args:
            value: A number, nested lists of numbers, or an array.
            dtype: Type of its elements.
        """
        array = np.asarray(value, dtype)
        key = (array.tobytes(), array.shape, array.dtype.str)
        if key not in self._known:
            self._known[key] = self.new_name("constant")
            self.constants[self._known[key]] = array
        return self._known[key]

    def weight(self, name: str, tensor: Tensor) -> Name:
        """Adds a weight, once for each tensor: tied weights share a constant."""
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() == 0 or key not in self._known:
            self._known[key] = name
            self.constants[name] = tensor.detach().cpu().contiguous().numpy()
        return self._known[key]

    def size(self, size: Size) -> Name:
        """Returns the name of a size, an int64 scalar that may be computed from the inputs."""
        return self.constant(size) if isinstance(size, int) else self._expression(size.node.expr)

    def shape(self, sizes: Sequence[Size]) -> Name:
        """Returns the name of a shape, a vector of int64."""
        if all(isinstance(size, int) for size in sizes):
            return self.constant(list(sizes))
        axis = self.constant([0])
        rows = [
            self.constant([size]) if isinstance(size, int)
            else self.op("Unsqueeze", self.size(size), axis)
            for size in sizes
        ]  # fmt: skip
        return self.op("Concat", *rows, axis=0) if len(rows) > 1 else rows[0]

    def reshape(self, x: Name, sizes: Sequence[Size]) -> Name:
        """Gives a tensor another shape."""
        dynamic = [i for i, size in enumerate(sizes) if not isinstance(size, int)]
        if len(dynamic) == 1 and 0 not in [size for size in sizes if isinstance(size, int)]:
            shape = self.constant([-1 if i in dynamic else int(s) for i, s in enumerate(sizes)])
            return self.op("Reshape", x, shape)
        # Without allowzero, a size of 0 would stand for the size of x.
        return self.op("Reshape", x, self.shape(sizes), allowzero=1)

    def _expression(self, value: Any) -> Name:  # noqa: ANN401
        """Computes a size from the sizes of the inputs."""
        if value in self._known:
            return self._known[value]
        if value.is_Integer:
            return self.constant(int(value))
        if value.is_Symbol:
            source, axis = self.sizes[str(value)]
            shape = self.op("Shape", source, start=axis, end=axis + 1)
            name = self.op("Squeeze", shape, self.constant([0]))
        else:
            kind = _ARITHMETIC.get(type(value).__name__)
            if kind is None:
                raise InputError(
                    f"cannot export this network to ONNX: there is no translation of the size "
                    f"{value}; use --format=torch"
                )
            name, *others = [self._expression(part) for part in value.args]
            for other in others:
                name = self.op(kind, name, other)
        self._known[value] = name
        return name


# Names of classes of sympy and torch.
_ARITHMETIC = {"Add": "Add", "Mul": "Mul", "FloorDiv": "Div", "Max": "Max", "Min": "Min"}
