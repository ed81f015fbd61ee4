"""Translates operators that make, reshape, cut, join and index tensors to ONNX."""

import numpy as np
import torch

from srulight.export.onnx_graph import TYPES, Name
from srulight.export.translation import Call, numpy_type, translates


@translates(
    "view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "_unsafe_view", "view_as"
)
def _view(c: Call) -> Name:
    return c.reshaped()


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
