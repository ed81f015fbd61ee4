"""Translates arithmetic, comparisons, functions of single elements, and sums to ONNX."""

import torch
from torch import fx

from srulight.export.onnx_graph import Name
from srulight.export.translation import OPERATORS, Call, Translation, numpy_type, translates


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


def _function(kind: str) -> Translation:
    return lambda c: c.g.op(kind, c.get(0))


for _name, _kind in {
    "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "exp": "Exp", "log": "Log", "abs": "Abs",
    "neg": "Neg", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "bitwise_not": "Not",
    "logical_not": "Not",
}.items():  # fmt: skip
    OPERATORS[f"aten.{_name}"] = _function(_kind)
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


@translates("relu_")
def _relu_in_place(c: Call) -> Name:
    node = c.raw(0)
    if len(node.users) > 1:  # the others might read the tensor before or after it changes
        raise NotImplementedError
    return c.g.op("Relu", c.get(0))


@translates("max")
def _max(c: Call) -> list[Name]:
    if str(c.node.target).rpartition(".")[2] != "dim":
        raise NotImplementedError
    x, axis, keep = c.get(0), c.axis(1), int(c.get(2))
    largest = c.g.op("ReduceMax", x, c.g.constant([axis]), keepdims=keep)
    return [largest, c.g.op("ArgMax", x, axis=axis, keepdims=keep)]


@translates("ne")
def _ne(c: Call) -> Name:
    return c.g.op("Not", OPERATORS["aten.eq"](c))


@translates("dropout", "detach", "contiguous", "clone", "alias", "lift_fresh_copy", "detach_")
def _same(c: Call) -> Name:
    return c.get(0)


@translates("to", "_to_copy", "type_as", "float", "double")
def _to(c: Call) -> Name:
    return c.cast(c.get(0), c.meta(0).dtype, c.meta().dtype)


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


@translates("cumsum")
def _cumsum(c: Call) -> Name:
    return c.g.op("CumSum", c.get(0), c.g.constant(c.axis(1)))
