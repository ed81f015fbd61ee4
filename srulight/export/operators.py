"""Translates operators of PyTorch to ONNX, those that the networks of srulight consist of."""

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


def _arithmetic(kind: str, reverse: bool = False) -> Translation:
    def translate(c: Call) -> Name:
        result = c.meta().dtype
        dtype = result if result != torch.bool else _common(c)
        a, b = c.number(0, dtype), c.number(1, dtype)
        return c.g.op(kind, *((b, a) if reverse else (a, b)))

    return translate


def _common(c: Call) -> torch.dtype:
    """Returns the type in which two arguments are compared."""
    both = []
    for place in (0, 1):
        value = c.meta(place) if isinstance(c.raw(place), fx.Node) else c.raw(place)
        if isinstance(value, torch.Tensor):  # only the type and whether it is a scalar matter
            value = torch.empty((1,) * min(value.dim(), 1), dtype=value.dtype)
        both.append(0 if isinstance(value, torch.SymInt) else value)
    return torch.result_type(*both)


for _name, _kind in {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min",
    "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal",
    "logical_and": "And", "logical_or": "Or", "pow": "Pow",
}.items():  # fmt: skip
    OPERATORS[f"aten.{_name}"] = _arithmetic(_kind)
for _name, _kind in {
    "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "exp": "Exp", "log": "Log", "abs": "Abs",
    "neg": "Neg", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos",
}.items():  # fmt: skip
    OPERATORS[f"aten.{_name}"] = lambda c, kind=_kind: c.g.op(kind, c.get(0))
OPERATORS["aten.bitwise_not"] = OPERATORS["aten.logical_not"] = lambda c: c.g.op("Not", c.get(0))
OPERATORS["aten.__and__"] = OPERATORS["aten.bitwise_and"] = OPERATORS["aten.logical_and"]
OPERATORS["aten.__or__"] = OPERATORS["aten.bitwise_or"] = OPERATORS["aten.logical_or"]
OPERATORS["aten.rsub"] = _arithmetic("Sub", reverse=True)


@translates("floor_divide")
def _floor_divide(c: Call) -> Name:
    a, b = c.number(0), c.number(1)
    # Div of integers rounds toward zero.
    return c.g.op("Div", c.g.op("Sub", a, c.g.op("Mod", a, b)), b)


@translates("remainder")
def _remainder(c: Call) -> Name:
    if c.meta().dtype.is_floating_point:
        raise NotImplementedError  # Mod rounds floats differently
    return c.g.op("Mod", c.number(0), c.number(1))


@translates("ne")
def _ne(c: Call) -> Name:
    return c.g.op("Not", OPERATORS["aten.eq"](c))


@translates("dropout", "detach", "contiguous", "clone", "alias", "lift_fresh_copy", "detach_")
def _same(c: Call) -> Name:
    return c.get(0)


@translates("to", "_to_copy", "type_as", "float", "double")
def _to(c: Call) -> Name:
    return c.cast(c.get(0), c.meta(0).dtype, c.meta().dtype)


@translates(
    "view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "_unsafe_view", "view_as"
)
def _view(c: Call) -> Name:
    return c.reshaped()


@translates("linear")
def _linear(c: Call) -> Name:
    x, weight, bias = c.get(0), c.get(1), c.get(2)
    if c.meta(0).dim() == 2:
        return c.g.op("Gemm", x, weight, *([bias] if bias else []), transB=1)
    y = c.g.op("MatMul", x, c.g.op("Transpose", weight, perm=[1, 0]))
    return c.g.op("Add", y, bias) if bias else y


@translates("matmul", "bmm", "mm")
def _matmul(c: Call) -> Name:
    return c.g.op("MatMul", c.get(0), c.get(1))


@translates("addmm")
def _addmm(c: Call) -> Name:
    return c.g.op("Add", c.g.op("MatMul", c.get(1), c.get(2)), c.get(0))


@translates("embedding")
def _embedding(c: Call) -> Name:
    return c.g.op("Gather", c.get(0), c.get(1), axis=0)


@translates("layer_norm")
def _layer_norm(c: Call) -> Name:
    x, shape, weight, bias = (c.get(i) for i in range(4))
    if weight is None:
        weight = c.g.constant(np.ones(shape), np.float32)
    inputs = [x, weight, *([bias] if bias else [])]
    return c.g.op("LayerNormalization", *inputs, axis=-len(shape), epsilon=float(c.get(4)))


@translates("softmax", "log_softmax", "_softmax", "_log_softmax")
def _softmax(c: Call) -> Name:
    x = c.cast(c.get(0), c.meta(0).dtype, c.meta().dtype)
    kind = "LogSoftmax" if "log" in str(c.node.target) else "Softmax"
    return c.g.op(kind, x, axis=c.axis(1))


@translates("transpose", "mT", "t", "permute", "numpy_T")
def _transpose(c: Call) -> Name:
    rank = c.meta(0).dim()
    perm = list(range(rank))
    name = str(c.node.target).split(".")[1]
    if name == "permute":
        perm = [dim % rank for dim in c.get(1)]
    else:
        a, b = (c.axis(1), c.axis(2)) if name == "transpose" else (rank - 2, rank - 1)
        perm[a], perm[b] = perm[b], perm[a]
    return c.g.op("Transpose", c.get(0), perm=perm)


@translates("cat", "concat")
def _cat(c: Call) -> Name:
    dim = c.get(1) % c.meta().dim()
    return c.g.op("Concat", *c.get(0), axis=dim)


@translates("stack")
def _stack(c: Call) -> Name:
    dim = c.get(1) % c.meta().dim()
    parts = [c.g.op("Unsqueeze", one, c.g.constant([dim])) for one in c.get(0)]
    return c.g.op("Concat", *parts, axis=dim)


@translates("slice")
def _slice(c: Call) -> Name:
    x, _, start, end, step = (c.get(i) for i in range(5))
    bounds = []
    for value, default in ((start, 0), (end, np.iinfo(np.int64).max)):
        value = default if value is None else value
        bounds.append(
            c.g.constant([value]) if isinstance(value, int)
            else c.g.op("Unsqueeze", c.g.size(value), c.g.constant([0]))
        )  # fmt: skip
    return c.g.op("Slice", x, *bounds, c.g.constant([c.axis(1)]), c.g.constant([step]))


@translates("select")
def _select(c: Call) -> Name:
    return c.g.op("Gather", c.get(0), c.g.size(c.get(2)), axis=c.axis(1))


@translates("unbind")
def _unbind(c: Call) -> list[Name]:
    dim = c.axis(1)
    return [
        c.g.op("Gather", c.get(0), c.g.constant(i), axis=dim)
        for i in range(c.meta(0).shape[dim])
    ]  # fmt: skip


@translates("split", "split_with_sizes", "chunk")
def _split(c: Call) -> list[Name]:
    dim = c.axis(2)
    sizes = [one.shape[dim] for one in c.meta()]
    if len(sizes) == 1:
        return [c.get(0)]
    return c.g.ops("Split", len(sizes), c.get(0), c.g.shape(sizes), axis=dim)


@translates("index_select")
def _index_select(c: Call) -> Name:
    return c.g.op("Gather", c.get(0), c.get(2), axis=c.axis(1))


@translates("gather")
def _gather(c: Call) -> Name:
    return c.g.op("GatherElements", c.get(0), c.get(2), axis=c.axis(1))


@translates("index")
def _index(c: Call) -> Name:
    given = c.get(1)
    places = [i for i, one in enumerate(given) if one is not None]
    if len(places) == 1:
        return c.g.op("Gather", c.get(0), given[places[0]], axis=places[0])
    if places != list(range(len(places))):
        raise NotImplementedError
    # All indices have the same shape in our networks.
    columns = [c.g.op("Unsqueeze", given[i], c.g.constant([-1])) for i in places]
    return c.g.op("GatherND", c.get(0), c.g.op("Concat", *columns, axis=-1))


@translates("expand", "expand_as", "broadcast_to")
def _expand(c: Call) -> Name:
    return c.g.op("Expand", c.get(0), c.g.shape(c.meta().shape))


@translates("repeat")
def _repeat(c: Call) -> Name:
    shape, repeats = c.meta(0).shape, c.get(1)
    x = c.g.reshape(c.get(0), (*(1,) * (len(repeats) - len(shape)), *shape))
    return c.g.op("Tile", x, c.g.shape(repeats))


@translates("arange")
def _arange(c: Call) -> Name:
    overload = str(c.node.target).rpartition(".")[2]
    given = [c.get(i) for i in range({"default": 1, "start": 2, "start_step": 3}[overload])]
    start, end, step = {1: (0, *given, 1), 2: (*given, 1), 3: (*given,)}[len(given)]
    dtype = c.meta().dtype
    ends = [
        c.cast(c.g.size(one), torch.int64, dtype) if isinstance(one, torch.SymInt)
        else c.g.constant(one, numpy_type(dtype))
        for one in (start, end, step)
    ]  # fmt: skip
    return c.g.op("Range", *ends)


@translates("zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "zeros_like",
            "ones_like", "full_like", "scalar_tensor")  # fmt: skip
def _full(c: Call) -> Name:
    name = str(c.node.target).split(".")[1]
    value = 0 if "zeros" in name else 1
    if "full" in name:
        value = c.get(2 if name == "new_full" else 1)
    elif name == "scalar_tensor":
        value = c.get(0)
    filled = c.g.constant(value, numpy_type(c.meta().dtype))
    return c.g.op("Expand", filled, c.g.shape(c.meta().shape)) if c.meta().dim() else filled


@translates("where")
def _where(c: Call) -> Name:
    return c.g.op("Where", c.get(0), c.number(1), c.number(2))


@translates("masked_fill")
def _masked_fill(c: Call) -> Name:
    return c.g.op("Where", c.get(1), c.number(2), c.get(0))


@translates("clamp", "clamp_min")
def _clamp(c: Call) -> Name:
    bounds = [c.get(1)] if "clamp_min" in str(c.node.target) else [c.get(1), c.get(2)]
    dtype = numpy_type(c.meta().dtype)
    limits = [None if bound is None else c.g.constant(bound, dtype) for bound in bounds]
    return c.g.op("Clip", c.cast(c.get(0), c.meta(0).dtype, c.meta().dtype), *limits)


@translates("sum", "mean", "amax")
def _reduced(c: Call) -> Name:
    name, _, overload = str(c.node.target).removeprefix("aten.").partition(".")
    kind = {"sum": "ReduceSum", "mean": "ReduceMean", "amax": "ReduceMax"}[name]
    x = c.cast(c.get(0), c.meta(0).dtype, c.meta().dtype)
    if overload == "default" and name != "amax":
        return c.g.op(kind, x, keepdims=0)
    rank = c.meta(0).dim()
    axes = c.get(1)
    axes = [a % rank for a in ([axes] if isinstance(axes, int) else axes)] or list(range(rank))
    return c.g.op(kind, x, c.g.constant(axes), keepdims=int(c.get(2)))


@translates("pad", "constant_pad_nd")
def _pad(c: Call) -> Name:
    before, after = c.get(1)[0::2], c.get(1)[1::2]
    rest = [0] * (c.meta(0).dim() - len(before))
    pads = c.g.shape([*rest, *before[::-1], *rest, *after[::-1]])
    return c.g.op("Pad", c.get(0), pads)


@translates("unfold")
def _unfold(c: Call) -> Name:
    dim, size, step = c.axis(1), c.get(2), c.get(3)
    length = c.meta().shape[dim]
    first = c.g.op("Range", c.g.constant(0), c.g.size(length), c.g.constant(1))
    first = c.g.op("Mul", first, c.g.constant(step)) if step != 1 else first
    first = c.g.op("Unsqueeze", first, c.g.constant([1]))
    places = c.g.op("Add", first, c.g.constant(list(range(size))))
    found = c.g.op("Gather", c.get(0), places, axis=dim)  # the window follows its dimension
    rank = c.meta(0).dim()
    perm = [*range(dim + 1), *range(dim + 2, rank + 1), dim + 1]
    return found if perm == list(range(rank + 1)) else c.g.op("Transpose", found, perm=perm)


@translates("conv1d", "conv2d", "conv3d")
def _convolution(c: Call) -> Name:
    rank = c.meta(0).dim() - 2

    def each(place: int) -> list[int]:
        value = c.get(place)
        value = [value] if isinstance(value, int) else list(value)
        return value * rank if len(value) == 1 else value

    if isinstance(c.get(4), str):
        raise NotImplementedError
    inputs = [c.get(0), c.get(1), *([c.get(2)] if c.get(2) else [])]
    return c.g.op(
        "Conv", *inputs, strides=each(3), pads=[*each(4), *each(4)], dilations=each(5),
        group=int(c.get(6)),
    )  # fmt: skip


@translates("batch_norm")
def _batch_norm(c: Call) -> Name:
    x, weight, bias, mean, variance = (c.get(i) for i in range(5))
    return c.g.op("BatchNormalization", x, weight, bias, mean, variance, epsilon=float(c.get(7)))


@translates("max_pool2d")
def _max_pool(c: Call) -> Name:
    kernel, stride, padding = (c.get(i) for i in (1, 2, 3))
    pair = [[one, one] if isinstance(one, int) else list(one) for one in (kernel, stride, padding)]
    pair = [one * 2 if len(one) == 1 else one for one in pair]
    kernel, stride, padding = pair
    return c.g.op("MaxPool", c.get(0), kernel_shape=kernel, strides=stride or kernel,
                  pads=[*padding, *padding], ceil_mode=int(c.get(5)))  # fmt: skip


@translates("adaptive_avg_pool2d")
def _adaptive(c: Call) -> Name:
    if list(c.get(1)) != [1, 1]:
        raise NotImplementedError
    return c.g.op("GlobalAveragePool", c.get(0))


@translates("scaled_dot_product_attention")
def _attention(c: Call) -> Name:
    q, k, v, mask = (c.get(i) for i in range(4))
    scale = c.get(6)
    size = c.meta(0).shape[-1]
    scale = size**-0.5 if scale is None else scale
    g = c.g
    q = g.op("Mul", q, g.constant(scale, np.float32))
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    if c.get(5):  # causal
        rows, columns = (
            g.op("Range", g.constant(0), g.size(c.meta(i).shape[-2]), g.constant(1)) for i in (0, 1)
        )
        mask = g.op("LessOrEqual", columns, g.op("Unsqueeze", rows, g.constant([1])))
    if mask is not None and not c.get(5) and c.meta(3).dtype != torch.bool:
        scores = g.op("Add", scores, mask)
    elif mask is not None:
        scores = g.op("Where", mask, scores, g.constant(-np.inf, np.float32))
    return g.op("MatMul", g.op("Softmax", scores, axis=-1), v)


@translates("cumsum")
def _cumsum(c: Call) -> Name:
    return c.g.op("CumSum", c.get(0), c.g.constant(c.axis(1)))


@translates("tril")
def _tril(c: Call) -> Name:
    kind = c.meta().dtype
    x = c.g.op("Cast", c.get(0), to=TYPES[torch.int64]) if kind == torch.bool else c.get(0)
    x = c.g.op("Trilu", x, c.g.size(c.get(1)), upper=0)
    return c.g.op("Cast", x, to=TYPES[kind]) if kind == torch.bool else x


@translates("repeat_interleave")
def _repeat_interleave(c: Call) -> Name:
    dim, shape = c.axis(2), c.meta(0).shape
    times = c.get(1)
    if isinstance(times, int) and times == 1:
        return c.get(0)
    x = c.g.op("Unsqueeze", c.get(0), c.g.constant([dim + 1]))
    wide = [*shape[: dim + 1], times, *shape[dim + 1 :]]
    return c.reshaped(c.g.op("Expand", x, c.g.shape(wide)))
