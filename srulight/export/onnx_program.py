"""Translates an exported program to an ONNX model with standard operators only."""

import operator
from typing import Any

import torch
from torch import SymInt, Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from srulight.export import (
    convolutional_recurrence,
    elementwise_operators,
    layer_operators,
    shape_operators,
)
from srulight.export.onnx_graph import IR, OPSET, TYPES, Graph
from srulight.export.recurrence_operators import sru, torch_recurrent
from srulight.export.translation import OPERATORS, Call
from srulight.runtime.errors import InputError

LARGEST = 1_500_000_000
"""Size of the weights, in bytes, above which an ONNX model keeps them in a file of their own."""

REGISTERED = (elementwise_operators, layer_operators, shape_operators)
"""Modules that register translations of operators; those of quantized layers belong here, too."""

_IGNORED = (
    "aten._assert_tensor_metadata",
    "aten._assert_scalar",
    "aten.sym_constrain_range",
    "aten.promote_types",
)


def to_onnx(
    program: ExportedProgram,
    inputs: dict[str, list[str | int]],
    outputs: dict[str, list[str | int]],
) -> Any:  # noqa: ANN401
    """Translates a program.

    Args:
        program: Program that ``torch.export`` returned.
        inputs: Name of each input of the model, and names of its dimensions; an int where a
            dimension is fixed.
        outputs: Name of each output, and names of its dimensions.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        InputError: If the network contains an operator that has no translation.
    """
    from onnx import checker, helper, numpy_helper

    g = Graph()
    names: dict[fx.Node, Any] = {}
    weights: dict[fx.Node, Tensor] = {}
    state = {**dict(program.named_parameters()), **dict(program.named_buffers())}
    state.update({k: v for k, v in program.constants.items() if isinstance(v, Tensor)})
    given = iter(inputs)
    kinds: dict[str, int] = {}
    specs = zip(program.graph_signature.input_specs, program.graph.nodes, strict=False)
    for spec, node in specs:
        if spec.kind is not InputKind.USER_INPUT:
            assert spec.target is not None
            weights[node] = state[spec.target]
            names[node] = g.weight(spec.target, weights[node])
            continue
        names[node] = name = next(given)
        value = node.meta["val"]
        kinds[name] = TYPES[value.dtype]
        for axis, size in enumerate(value.shape):
            if isinstance(size, SymInt) and size.node.expr.is_Symbol:
                g.sizes.setdefault(str(size.node.expr), (name, axis))
    results: list[fx.Node] = []
    for node in program.graph.nodes:
        if node.op == "call_function":
            _add(g, node, names, weights)
        elif node.op == "output":
            results = [one for one in node.args[0] if isinstance(one, fx.Node)]
        elif node.op == "get_attr":
            names[node] = g.weight(str(node.target), state[str(node.target)])
    for node, name in zip(results, outputs, strict=True):
        g.nodes.append(helper.make_node("Identity", [names[node]], [name]))
        kinds[name] = TYPES[node.meta["val"].dtype]
    used = _used(g.nodes)
    graph = helper.make_graph(
        _needed(g.nodes, set(outputs)), "network",
        [helper.make_tensor_value_info(n, kinds[n], s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, kinds[n], s) for n, s in outputs.items()],
        [numpy_helper.from_array(a, n) for n, a in g.constants.items() if n in used],
    )  # fmt: skip
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR,
        producer_name="srulight",
    )  # fmt: skip
    if sum(array.nbytes for array in g.constants.values()) < LARGEST:
        checker.check_model(model)
    return model


def _add(
    g: Graph, node: fx.Node, names: dict[fx.Node, Any], weights: dict[fx.Node, Tensor]
) -> None:
    """Adds the nodes of one call."""
    value = node.meta.get("val")
    if isinstance(value, int | SymInt | bool | torch.SymBool) or str(node.target).startswith(
        _IGNORED
    ):
        return  # sizes are computed where they are used
    if node.target is operator.getitem:
        if node.users:  # an operator may have outputs that are only used in training
            names[node] = names[node.args[0]][node.args[1]]  # type: ignore[index]
        return
    kind = str(node.target).rpartition(".")[0]
    if not isinstance(node.target, torch._ops.OpOverload):
        raise InputError(_unknown(str(node.target)))
    call = Call(g, node, names)
    if kind == "srulight.sru":
        names[node] = _sru(call)
    elif kind == "srulight.sru_step":
        names[node] = _sru_step(call)
    elif kind == "srulight.torch_recurrent":
        own = [weights[one] for one in call.raw(4)]
        x, lengths, h0, c0 = (call.get(i) for i in range(4))
        names[node] = torch_recurrent(g, x, lengths, h0, c0, own, call.get(5), call.get(6))
    elif kind == "srulight.conv_lstm":
        x, h0, c0, weight = (call.get(i) for i in range(4))
        shapes = call.meta(0).shape, call.meta(3).shape
        names[node] = convolutional_recurrence.conv_lstm(g, x, h0, c0, weight, *shapes)
    elif kind in OPERATORS:
        try:
            names[node] = OPERATORS[kind](call)
        except (NotImplementedError, KeyError) as error:
            raise InputError(_unknown(str(node.target))) from error
    else:
        raise InputError(_unknown(str(node.target)))


def _unknown(name: str) -> str:
    return (
        f"cannot export this network to ONNX: there is no translation of the operator {name}; use "
        "--format=torch"
    )


def _sru(c: Call) -> tuple[str, str]:
    u, skip, v, b, c0, mask, lengths, scale, activation, bidirectional = (
        c.get(i) for i in range(10)
    )
    assert mask is None, "a mask of dropout occurs in training only"
    uses = [user.args[1] for user in c.node.users if user.users]
    return sru(
        c.g, u, skip, v, b, c0, lengths, scale, activation, bidirectional,
        shape=tuple(c.meta(0).shape), needs_last=1 in uses,
    )  # fmt: skip


def _sru_step(c: Call) -> tuple[str, str]:
    x, weight, skip, v, b, c0, scale, activation = (c.get(i) for i in range(8))
    batch, channels = c.meta(0).shape[0], c.meta(4).shape[1]
    planes = c.meta(1).shape[0] // channels
    product = c.g.op("MatMul", x, c.g.op("Transpose", weight, perm=[1, 0]))
    shape = (batch, 1, planes, channels)
    u = c.g.reshape(product, shape)
    return sru(c.g, u, skip, v, b, c0, None, scale, activation, False, shape=shape, needs_last=True)


def _used(nodes: list[Any]) -> set[str]:
    """Returns the names of all inputs of nodes, those in the bodies of loops included."""
    found: set[str] = set()
    for node in nodes:
        found.update(node.input)
        for attribute in node.attribute:
            found |= _used(list(attribute.g.node))
    return found


def _needed(nodes: list[Any], wanted: set[str]) -> list[Any]:
    """Leaves out nodes that no output depends on."""
    kept = []
    for node in reversed(nodes):
        if wanted & {*node.output}:
            wanted |= _used([node])
            kept.append(node)
    return kept[::-1]
