"""Translates the recurrence of a convolutional LSTM to a ``Scan`` over convolutions."""

from collections.abc import Sequence
from typing import Any

from srulight.export.onnx_graph import Graph, Name, Size


def conv_lstm(
    g: Graph,
    inputs: Name,
    h0: Name,
    c0: Name,
    weight: Name,
    shape: Sequence[Size],
    kernel: Sequence[int],
) -> tuple[Name, Name, Name]:
    """Translates ``conv_lstm_steps`` of ``srulight.encoders``, whose tensors these are.

    Args:
        g: Graph to add nodes to.
        inputs: Convolved inputs of the four gates, (B, T, 4 * H, h, w).
        h0: Output before the first step, (B, H, h, w).
        c0: Cell before the first step, (B, H, h, w).
        weight: Kernels of the last output, (4 * H, H, kernel size, kernel size).
        shape: Shape of the inputs.
        kernel: Shape of the kernels.

    Returns:
        Names of the outputs, (B, T, H, h, w), and of the output and the cell after the last step.
    """
    from onnx import TensorProto, helper

    if shape[1] == 1:
        axis = g.constant([1])
        h, c = _step(g, g.op("Squeeze", inputs, axis), h0, c0, weight, kernel)
        return g.op("Unsqueeze", h, axis), h, c
    names = [g.new_name(part) for part in ("output", "cell", "inputs")]
    body = Graph(count=g.count)
    h, c = _step(body, names[2], names[0], names[1], weight, kernel)
    # An output of the body must not be listed twice.
    results = [h, c, body.op("Identity", h)]

    def info(name: str) -> Any:  # noqa: ANN401
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)

    g.count = body.count
    graph = helper.make_graph(
        body.nodes, g.new_name("recurrence"), [info(name) for name in names],
        [info(name) for name in results],
    )  # fmt: skip
    steps = g.op("Transpose", inputs, perm=[1, 0, 2, 3, 4])
    h, c, y = g.ops("Scan", 3, h0, c0, steps, body=graph, num_scan_inputs=1)
    return g.op("Transpose", y, perm=[1, 0, 2, 3, 4]), h, c


def _step(
    g: Graph, inputs: Name, h: Name, c: Name, weight: Name, kernel: Sequence[int]
) -> tuple[Name, Name]:
    """Adds the nodes of one step, and returns the names of the output and of the cell."""
    reach = [size // 2 for size in kernel[2:]]
    recurrent = g.op("Conv", h, weight, pads=[*reach, *reach])
    gates = g.op("Add", inputs, recurrent)
    i, f, new, o = g.ops("Split", 4, gates, axis=1, num_outputs=4)
    new = g.op("Mul", g.op("Sigmoid", i), g.op("Tanh", new))
    c = g.op("Add", g.op("Mul", g.op("Sigmoid", f), c), new)
    return g.op("Mul", g.op("Sigmoid", o), g.op("Tanh", c)), c
