"""A stack of SRU layers in one operator, for inference on few and short sequences.

A step of a small layer takes microseconds, of which Python and the dispatcher take most. A stack
that runs as one operator pays for them once, and not once per layer.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.ops import reference
from srulight.ops.reference import ACTIVATIONS, wide
from srulight.ops.sru import define_everywhere

torch.library.define(
    "srulight::sru_stack",
    "(Tensor x, Tensor[] weights, Tensor[] peepholes, Tensor[] biases, Tensor? c0, Tensor? lengths,"
    " float[] scales, bool skip, int activation, bool bidirectional) -> (Tensor h, Tensor last)",
)


def _stack(
    x: Tensor, weights: Sequence[Tensor], peepholes: Sequence[Tensor], biases: Sequence[Tensor],
    c0: Tensor | None, lengths: Tensor | None, scales: Sequence[float], skip: bool,
    activation: int, bidirectional: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    states = []
    for i, (weight, b) in enumerate(zip(weights, biases, strict=True)):
        gates = weight.size(0) // b.size(1)
        h, last, _ = reference.sru(
            F.linear(x, weight).unflatten(-1, (gates, b.size(1))),
            x if skip and gates == 3 else None,
            peepholes[i] if peepholes else None,
            b,
            None if c0 is None else c0[i],
            None,
            lengths,
            scales[i],
            activation,
            bidirectional,
            False,
        )
        x = h
        states.append(last)
    return x, torch.stack(states)


def _fake_stack(
    x: Tensor, weights: Sequence[Tensor], _peepholes: object, biases: Sequence[Tensor], *_: object
) -> tuple[Tensor, Tensor]:
    batch, steps, channels = x.size(0), x.size(1), biases[-1].size(1)
    states = x.new_empty(len(weights), batch, channels, dtype=wide(x.dtype))
    return x.new_empty(batch, steps, channels), states


define_everywhere("sru_stack", _stack, _fake_stack)


def sru_stack(
    x: Tensor,
    weights: Sequence[Tensor],
    peepholes: Sequence[Tensor],
    biases: Sequence[Tensor],
    c0: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    scales: Sequence[float],
    skip: bool = True,
    activation: str = "identity",
    bidirectional: bool = False,
) -> tuple[Tensor, Tensor]:
    """Runs a stack of L SRU layers as one operator, without gradients.

    Each layer computes what ``sru_layer`` computes. Layers of another dtype than ``x`` are refused,
    and autocast has no effect on the products.

    Args:
        x: Inputs of the first layer, (B, T, F).
        weights: The weight of each layer, as in ``sru_layer``.
        peepholes: The peephole weights of each layer, as in ``sru``; empty if there are none.
        biases: The biases of each layer, as in ``sru``.
        c0: State of each layer before the first step, (L, B, D). None means zeros.
        lengths: Number of real steps in each sequence, as in ``sru``.
        scales: Factor of the skip of each layer.
        skip: Whether a layer with three gates adds its input as skip.
        activation: Activation, as in ``sru``.
        bidirectional: Whether the second half of the channels reads right to left.

    Returns:
        Outputs of the last layer, (B, T, D), and the states after the last real step, (L, B, D).

    Raises:
        RuntimeError: If an argument has the wrong shape, dtype or device. The message names it.
    """
    h, last = torch.ops.srulight.sru_stack.default(
        x, weights, peepholes, biases, c0, lengths, scales, skip,
        ACTIVATIONS.index(activation), bidirectional,
    )  # fmt: skip
    return h, last
