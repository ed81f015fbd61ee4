"""Programs of PyTorch's own operators, in which a loop takes the place of srulight's kernels."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from srulight.export.networks.base import Tensors
from srulight.layers.masking import valid_steps
from srulight.ops.reference import ACTIVATIONS

_KEEP = 1e9
"""Input of the sigmoid function that makes a forget gate 1, so that the state stays."""

Body = Callable[..., Any]
"""Computes the next state and the outputs of a step from a state and the inputs of a step."""


def self_contained(
    program: ExportedProgram, inputs: Tensors, shapes: tuple[dict[int, Any], ...]
) -> ExportedProgram:
    """Replaces the operators of srulight in a program by the operator ``scan`` of PyTorch.

    Args:
        program: The program, as ``program_of`` returns it.
        inputs: Example of its inputs.
        shapes: Dynamic dimensions of each input, as ``torch.export.export`` takes them.

    Returns:
        A program with the same inputs and outputs, which runs without srulight.
    """
    with torch.no_grad():
        module = _Replaced(program.module(check_guards=False))
        return torch.export.export(module, inputs, dynamic_shapes=(shapes,))


class _Replaced(nn.Module):
    """Runs a program operator by operator, which records it again."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, *inputs: Tensor) -> Any:  # noqa: ANN401
        assert isinstance(self.program, fx.GraphModule)
        return _Interpreter(self.program).run(*inputs)


class _Interpreter(fx.Interpreter):
    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        replacement = _REPLACEMENTS.get(str(target))
        if replacement is not None:
            return replacement(*args, **kwargs)
        return super().call_function(target, args, kwargs)


def _scanned(body: Body, state: Any, xs: Any, backwards: bool = False) -> tuple[Any, Any]:  # noqa: ANN401
    """Runs a function over the steps of (T, B, ...) tensors; returns the last state and outputs."""
    from torch._higher_order_ops.scan import scan

    found: tuple[Any, Any] = scan(body, state, xs, dim=0, reverse=backwards)
    return found


def _sru(
    u: Tensor, skip: Tensor | None, v: Tensor | None, b: Tensor, c0: Tensor | None,
    mask: Tensor | None, lengths: Tensor | None, scale: float, activation: int,
    bidirectional: bool, save: bool,
) -> Tensors:  # fmt: skip
    """Computes what ``srulight.ops.reference.sru`` computes, in evaluation."""
    batch, steps, _, channels = u.shape
    candidate, forget, reset, *fourth = u.unbind(2)
    forget, reset = forget + b[0], reset + b[1]
    valid = None if lengths is None else valid_steps(lengths, steps).unsqueeze(-1)
    if valid is not None:
        forget = torch.where(valid, forget, _KEEP)
        candidate = torch.where(valid, candidate, 0.0)
    c0 = u.new_zeros(batch, channels) if c0 is None else c0
    v0 = b.new_zeros(channels) if v is None else v[0]
    half = channels // 2
    parts = [slice(0, half), slice(half, channels)] if bidirectional else [slice(0, channels)]
    states, lasts, before = [], [], []
    for part, backwards in zip(parts, (False, True), strict=False):
        own, weight = c0[:, part], v0[part]

        def body(c: Tensor, xs: Tensors, weight: Tensor = weight) -> Tensors:
            x, f = xs
            c = x + torch.sigmoid(f + weight * c) * (c - x)
            return c, c.clone()

        xs = tuple(one[..., part].transpose(0, 1).contiguous() for one in (candidate, forget))
        if steps == 1:
            last = body(own, tuple(one[0] for one in xs))[0]
            every = last.unsqueeze(1)
        else:
            last, every = _scanned(body, own.contiguous(), xs, backwards)
            every = every.transpose(0, 1)
        rest = (every[:, 1:], own.unsqueeze(1)) if backwards else (own.unsqueeze(1), every[:, :-1])
        states.append(every)
        lasts.append(last)
        before.append(torch.cat(rest, 1))
    c = torch.cat(states, -1)
    if v is not None:
        reset = reset + v[1] * torch.cat(before, -1)
    active = c if activation == 0 else getattr(torch, ACTIVATIONS[activation])(c)
    if fourth:
        skip = fourth[0]
    elif skip is not None:
        skip = skip * scale
    h = reset.sigmoid() * active if skip is None else skip + reset.sigmoid() * (active - skip)
    h = h if valid is None else torch.where(valid, h, 0.0)
    return h, torch.cat(lasts, -1), c.new_empty(0, 0, channels)


def _sru_step(
    x: Tensor, weight: Tensor, skip: Tensor | None, v: Tensor | None, b: Tensor, c0: Tensor | None,
    scale: float, activation: int,
) -> Tensors:  # fmt: skip
    u = F.linear(x, weight).unflatten(-1, (-1, b.size(1)))
    return _sru(u, skip, v, b, c0, None, None, scale, activation, False, False)[:2]


def _torch_recurrent(
    x: Tensor, lengths: Tensor | None, h0: Tensor, c0: Tensor | None, weights: list[Tensor],
    num_layers: int, bidirectional: bool,
) -> Tensors:  # fmt: skip
    """Computes what a stack of ``torch.nn.LSTM`` or ``torch.nn.GRU`` layers computes."""
    steps, directions = x.size(1), 2 if bidirectional else 1
    real = x.new_ones(x.size(0), steps, 1, dtype=torch.bool)
    if lengths is not None:
        real = valid_steps(lengths, steps).unsqueeze(-1)
    hs, cs = [], []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            w, r, bias, hidden_bias = weights[4 * place : 4 * place + 4]
            first = [h0[place]] if c0 is None else [h0[place], c0[place]]
            y, last = _rnn(x, real, first, w, r, bias, hidden_bias, direction == 1)
            outputs.append(y)
            hs.append(last[0])
            cs += last[1:]
        x = torch.cat(outputs, -1)
    return x, torch.stack(hs), torch.stack(cs) if cs else x.new_empty(0)


def _rnn(
    x: Tensor, real: Tensor, first: list[Tensor], w: Tensor, r: Tensor, bias: Tensor,
    hidden_bias: Tensor, backwards: bool,
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """Runs one direction of an LSTM, or of a GRU if there is only one state."""

    def body(state: list[Tensor], xs: Tensors) -> tuple[list[Tensor], Tensor]:
        gates, real = xs
        own = F.linear(state[0], r, hidden_bias)
        if len(state) == 2:
            i, f, g, o = (gates + own).chunk(4, -1)
            c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
            new = [o.sigmoid() * c.tanh(), c]
        else:
            (a, z, n), (own_a, own_z, own_n) = gates.chunk(3, -1), own.chunk(3, -1)
            n = (n + (a + own_a).sigmoid() * own_n).tanh()
            new = [n + (z + own_z).sigmoid() * (state[0] - n)]
        kept = [torch.where(real, one, was) for one, was in zip(new, state, strict=True)]
        return kept, torch.where(real, new[0], 0.0)

    gates = F.linear(x, w, bias).transpose(0, 1).contiguous()
    marks = real.transpose(0, 1).contiguous()
    first = [one.contiguous() for one in first]
    if x.size(1) == 1:
        last, y = body(first, (gates[0], marks[0]))
        return y.unsqueeze(1), last
    last, y = _scanned(body, first, (gates, marks), backwards)
    return y.transpose(0, 1), last


def _conv_lstm(inputs: Tensor, h0: Tensor, c0: Tensor, weight: Tensor) -> Tensors:
    def body(state: list[Tensor], step: Tensor) -> tuple[list[Tensor], Tensor]:
        gates = step + F.conv2d(state[0], weight, padding="same")
        i, f, g, o = gates.chunk(4, 1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return [h, c], h.clone()

    first = [h0.contiguous(), c0.contiguous()]
    if inputs.size(1) == 1:
        (h, c), y = body(first, inputs[:, 0])
        return y.unsqueeze(1), h, c
    (h, c), y = _scanned(body, first, inputs.transpose(0, 1).contiguous())
    return y.transpose(0, 1), h, c


_REPLACEMENTS: dict[str, Callable[..., Tensors]] = {
    "srulight.sru.default": _sru,
    "srulight.sru_step.default": _sru_step,
    "srulight.torch_recurrent.default": _torch_recurrent,
    "srulight.conv_lstm.default": _conv_lstm,
}
