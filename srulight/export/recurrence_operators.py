"""Translates recurrences to ONNX: that of SRU to ``Scan``, an LSTM and a GRU to theirs."""

from typing import Any

import numpy as np
from torch import Tensor

from srulight.export.onnx_graph import Graph, Name, Size
from srulight.ops.reference import ACTIVATIONS

_KEEP = 1e9
"""Input of the sigmoid function that makes a forget gate 1, so that the state stays."""


def sru(
    g: Graph,
    u: Name,
    skip: Name | None,
    v: Name | None,
    b: Name,
    c0: Name | None,
    lengths: Name | None,
    scale: float,
    activation: int,
    bidirectional: bool,
    *,
    shape: tuple[Size, Size, int, int],
    needs_last: bool,
) -> tuple[Name, Name]:
    """Translates ``srulight.ops.sru``, whose tensors these are.

    Only the state depends on the previous step. ``Scan`` therefore computes nothing but the states,
    and all other operators work on all steps at once.

    Args:
        g: Graph to add nodes to.
        u: Gate inputs, (B, T, K, D).
        skip: Skip input, (B, T, D), or None.
        v: Peephole weights, (2, D), or None.
        b: Biases, (2, D).
        c0: State before the first step, (B, D), or None for zeros.
        lengths: Number of real steps in each sequence, (B,), or None for T.
        scale: Factor of the skip.
        activation: Index of the activation.
        bidirectional: Whether the second half of the channels reads right to left.
        shape: Shape of u.
        needs_last: Whether anything reads the state after the last step.

    Returns:
        Names of the outputs, (B, T, D), and of the state after the last real step, (B, D).
    """
    batch, steps, planes, channels = shape
    candidate, forget, reset, *fourth = (
        g.op("Gather", u, g.constant(k), axis=2) for k in range(planes)
    )
    forget = g.op("Add", forget, _row(g, b, 0))
    reset = g.op("Add", reset, _row(g, b, 1))
    valid = None
    if lengths is not None:
        valid = _valid(g, lengths, steps)
        if bidirectional or needs_last:  # a causal step never sees the padding, which follows it
            forget = g.op("Where", valid, forget, g.constant(_KEEP, np.float32))
            candidate = g.op("Where", valid, candidate, g.constant(0, np.float32))
    if c0 is None:
        c0 = g.op("Expand", g.constant(0, np.float32), g.shape((batch, channels)))
    half = channels // 2
    parts = [(0, half), (half, channels)] if bidirectional else [(0, channels)]
    all_states = []
    cut = [
        [
            one if len(parts) == 1 else _slice(g, one, -1, *part)
            for one in (candidate, forget, c0, *([] if v is None else [_row(g, v, 0)]))
        ]
        for part in parts
    ]
    if steps == 1:
        axis = g.constant([1])
        for x, f, c, *weight in cut:
            new = _next(g, g.op("Squeeze", x, axis), g.op("Squeeze", f, axis), c, *weight)
            all_states.append(g.op("Unsqueeze", new, axis))
        lasts = [g.op("Squeeze", one, axis) for one in all_states]
        before = g.op("Unsqueeze", c0, axis)
    else:
        lasts, all_states = _scan(g, cut)
        first = g.constant([1])
        shifted = []
        for i, (one, (_, _, c, *_rest)) in enumerate(zip(all_states, cut, strict=True)):
            c = g.op("Unsqueeze", c, first)
            rest = _slice(g, one, 1, *((1, None) if i else (0, -1)))
            shifted.append(g.op("Concat", *((rest, c) if i else (c, rest)), axis=1))
        before = _joined(g, shifted)
    states, last = _joined(g, all_states), _joined(g, lasts)
    if v is not None:
        reset = g.op("Add", reset, g.op("Mul", before, _row(g, v, 1)))
    reset = g.op("Sigmoid", reset)
    active = states if activation == 0 else g.op(ACTIVATIONS[activation].title(), states)
    if fourth:
        skip = fourth[0]
    elif skip is not None and scale != 1:
        skip = g.op("Mul", skip, g.constant(scale, np.float32))
    if skip is None:
        h = g.op("Mul", reset, active)
    else:
        h = g.op("Add", skip, g.op("Mul", reset, g.op("Sub", active, skip)))
    if valid is not None:
        h = g.op("Where", valid, h, g.constant(0, np.float32))
    return h, last


def _next(g: Graph, x: Name, f: Name, c: Name, v: Name | None = None) -> Name:
    """Adds the nodes that compute the next state: f * c + (1 - f) * x."""
    if v is not None:
        f = g.op("Add", f, g.op("Mul", c, v))
    return g.op("Add", x, g.op("Mul", g.op("Sigmoid", f), g.op("Sub", c, x)))


def _scan(g: Graph, cut: list[list[Name]]) -> tuple[list[Name], list[Name]]:
    """Runs the recurrence in all directions.

    Args:
        g: Graph to add nodes to.
        cut: Candidate, (B, T, D), forget gate, state and maybe the peephole of each direction.

    Returns:
        Names of the last state, (B, D), and of all states, (B, T, D), of each direction.
    """
    from onnx import TensorProto, helper

    states, inputs, directions = [], [], []
    body = Graph(count=g.count)
    results, declared, carried = [], [], []
    for i, (x, f, c, *weight) in enumerate(cut):
        names = [g.new_name(part) for part in ("state", "candidate", "forget")]
        body.count = g.count
        result = _next(body, names[1], names[2], names[0], *weight)
        # An output of the body must not be listed twice.
        results.append(body.op("Identity", result))
        g.count = body.count
        carried.append(result)
        declared.append(names)
        states.append(c)
        inputs += [g.op("Transpose", one, perm=[1, 0, 2]) for one in (x, f)]
        directions.append(i)

    def info(name: str) -> Any:  # noqa: ANN401
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)

    order = [names[0] for names in declared] + [n for names in declared for n in names[1:]]
    graph = helper.make_graph(
        body.nodes, g.new_name("recurrence"), [info(name) for name in order],
        [info(name) for name in (*carried, *results)],
    )  # fmt: skip
    found = g.ops(
        "Scan", 2 * len(cut), *states, *inputs, body=graph, num_scan_inputs=len(inputs),
        scan_input_directions=[d for d in directions for _ in range(2)],
        scan_output_directions=directions,
    )  # fmt: skip
    back = [g.op("Transpose", one, perm=[1, 0, 2]) for one in found[len(cut) :]]
    return found[: len(cut)], back


def _row(g: Graph, x: Name, row: int) -> Name:
    return g.op("Gather", x, g.constant(row), axis=0)


def _slice(g: Graph, x: Name, axis: int, start: int, end: int | None) -> Name:
    ends = np.iinfo(np.int64).max if end is None else end
    return g.op("Slice", x, g.constant([start]), g.constant([ends]), g.constant([axis]))


def _joined(g: Graph, parts: list[Name]) -> Name:
    return parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=-1)


def _valid(g: Graph, lengths: Name, steps: Size) -> Name:
    """Marks the real steps, (B, T, 1) bool."""
    places = g.op("Range", g.constant(0), g.size(steps), g.constant(1))
    real = g.op("Less", places, g.op("Unsqueeze", lengths, g.constant([1])))
    return g.op("Unsqueeze", real, g.constant([2]))


def torch_recurrent(
    g: Graph,
    x: Name,
    lengths: Name | None,
    h0: Name,
    c0: Name | None,
    weights: list[Tensor],
    num_layers: int,
    bidirectional: bool,
) -> list[Name]:
    """Translates a stack of ``torch.nn.LSTM`` or ``torch.nn.GRU`` layers.

    Args:
        g: Graph to add nodes to.
        x: Steps, (B, T, F).
        lengths: Number of real steps in each sequence, (B,), at least 1; or None for T.
        h0: States h before the first step, (L * directions, B, H).
        c0: States c of an LSTM before the first step, (L * directions, B, H); None for a GRU.
        weights: Weights in the order of ``torch.nn.LSTM``: for each layer and direction W, R and
            the two biases.
        num_layers: Number of layers, L.
        bidirectional: Whether the layers read in both directions.

    Returns:
        Names of the outputs, (B, T, directions * H), of the last states h and, for an LSTM, c.
    """
    from onnx import TensorProto

    directions = 2 if bidirectional else 1
    order = [0, 3, 1, 2] if c0 is not None else [1, 0, 2]  # ONNX sorts the gates otherwise
    if lengths is not None:
        lengths = g.op("Cast", lengths, to=TensorProto.INT32)
    x = g.op("Transpose", x, perm=[1, 0, 2])
    lasts: list[list[Name]] = []
    for layer in range(num_layers):
        first = layer * directions
        own = weights[4 * first : 4 * (first + directions)]
        w, r, *biases = (
            np.stack([_sorted(one, order) for one in own[kind::4]]) for kind in range(4)
        )
        arrays = [g.constant(a, np.float32) for a in (w, r, np.concatenate(biases, 1))]
        before = [_slice(g, one, 0, first, first + directions) for one in (h0, c0) if one]
        given: dict[str, Any] = {"hidden_size": r.shape[2]}
        if bidirectional:
            given["direction"] = "bidirectional"
        if c0 is None:
            given["linear_before_reset"] = 1
        kind, outputs = ("LSTM", 3) if c0 is not None else ("GRU", 2)
        y, *last = g.ops(kind, outputs, x, *arrays, lengths, *before, **given)
        lasts.append(last)
        if bidirectional:  # (T, directions, B, H) -> (T, B, directions * H)
            y = g.op("Transpose", y, perm=[0, 2, 1, 3])
            x = g.op("Reshape", y, g.constant([0, 0, 2 * r.shape[2]]))
        else:
            x = g.op("Squeeze", y, g.constant([1]))
    ends = [
        one[0] if num_layers == 1 else g.op("Concat", *one, axis=0)
        for one in zip(*lasts, strict=True)
    ]
    return [g.op("Transpose", x, perm=[1, 0, 2]), *ends]


def _sorted(weight: Tensor, order: list[int]) -> np.ndarray:
    gates = weight.detach().numpy().reshape(len(order), -1, *weight.shape[1:])
    return np.concatenate([gates[k] for k in order])
