"""Draws random cases of the recurrence, on which kernels and reference are compared."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from srulight.ops.reference import ACTIVATIONS, sru, wide

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
SKIPS = ("input", "none", "gate")
COMBINATIONS = len(DTYPES) * 2 * 2 * 2 * len(SKIPS)
"""Number of combinations of dtype, form, direction, lengths and skip that cases go through."""

_CHANNELS = (1, 5, 16, 38, 64, 160)  # parts of vectors, whole vectors, and both
_STEPS = (1, 2, 6, 16, 35)  # up to two whole chunks between saved states, and a part of one
_FROM_THE_KINK = 1e-5


@dataclass(frozen=True)
class Case:
    """A case: the sizes and the options of the operator.

    Attributes:
        dtype: Type of the gate inputs and outputs.
        batch: Number of sequences, B.
        steps: Number of steps, T.
        channels: Number of channels of both directions, D.
        peephole: Whether the gates depend on the state: the form of 2018, otherwise that of 2017.
        bidirectional: Whether the second half of the channels reads right to left.
        lengths: Whether sequences differ in length.
        skip: Where the skip connection comes from: input, none or gate.
        activation: identity, tanh or relu.
        mask: Whether there is a mask of dropout.
        initial: Whether there is a state before the first step.
    """

    dtype: torch.dtype
    batch: int
    steps: int
    channels: int
    peephole: bool
    bidirectional: bool
    lengths: bool
    skip: str
    activation: str
    mask: bool
    initial: bool

    def __str__(self) -> str:
        options = [
            str(self.dtype).removeprefix("torch."),
            "form of 2018" if self.peephole else "form of 2017",
            "both directions" if self.bidirectional else "one direction",
            *(["lengths"] if self.lengths else []),
            {"input": "skip", "none": "no skip", "gate": "skip from a fourth gate"}[self.skip],
            *([self.activation] if self.activation != "identity" else []),
            *(["mask"] if self.mask else []),
            *(["initial state"] if self.initial else []),
            f"B={self.batch} T={self.steps} D={self.channels}",
        ]
        return ", ".join(options)


def draw_case(number: int, generator: torch.Generator) -> Case:
    """Draws the options of a case.

    Args:
        number: Number of the case. The first ``COMBINATIONS`` cases go through all combinations of
            dtype, form, direction, lengths and skip; the other options are random.
        generator: Source of randomness, on the CPU.
    """

    def choose(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    rest, dtype = divmod(number, len(DTYPES))
    rest, peephole = divmod(rest, 2)
    rest, bidirectional = divmod(rest, 2)
    rest, lengths = divmod(rest, 2)
    channels = _CHANNELS[choose(len(_CHANNELS))]
    return Case(
        dtype=DTYPES[dtype],
        batch=1 + choose(4),
        steps=_STEPS[choose(len(_STEPS))],
        channels=channels + channels % 2 if bidirectional else channels,
        peephole=not peephole,
        bidirectional=bool(bidirectional),
        lengths=not lengths,
        skip=SKIPS[rest % len(SKIPS)],
        activation=ACTIVATIONS[choose(len(ACTIVATIONS))],
        mask=bool(choose(2)),
        initial=bool(choose(2)),
    )


def draw_tensors(case: Case, generator: torch.Generator) -> list[Tensor | None]:
    """Draws the tensors of a case: u, skip, v, b, c0, mask and lengths, on the CPU.

    Where the activation is relu, no state lies so close to its kink that rounding could change the
    side, because the gradients of both sides differ.
    """
    while True:
        tensors = _draw(case, generator)
        if case.activation != "relu" or _distance_from_zero(case, tensors) > _FROM_THE_KINK:
            return tensors


def _draw(case: Case, generator: torch.Generator) -> list[Tensor | None]:
    batch, steps, channels = case.batch, case.steps, case.channels
    state = wide(case.dtype)

    def normal(*shape: int, dtype: torch.dtype = state, std: float = 1.0) -> Tensor:
        drawn = torch.randn(*shape, dtype=torch.float64, generator=generator)
        return (std * drawn).to(dtype)

    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    lengths[0] = steps
    kept = torch.randint(0, 2, (batch, channels), generator=generator)
    return [
        normal(batch, steps, 4 if case.skip == "gate" else 3, channels, dtype=case.dtype),
        normal(batch, steps, channels, dtype=case.dtype) if case.skip == "input" else None,
        # Larger weights make the recurrence chaotic: it would amplify rounding from step to step.
        normal(2, channels, std=0.5) if case.peephole else None,
        normal(2, channels),
        normal(batch, channels) if case.initial else None,
        kept.to(state) * 2 if case.mask else None,
        lengths if case.lengths else None,
    ]


def _distance_from_zero(case: Case, tensors: list[Any]) -> float:
    """Returns the smallest absolute value of a state at a real step."""
    u, _, v, b, c0, _, lengths = (
        t.double() if isinstance(t, Tensor) and t.is_floating_point() else t for t in tensors
    )
    u = u[:, :, :3].clone()
    u[:, :, 2] = 1e6  # the reset gate is 1: the outputs are the states
    options = (1.0, ACTIVATIONS.index("identity"), case.bidirectional, False)
    states, _, _ = sru(u, None, v, b, c0, None, lengths, *options)
    real = states[states != 0]
    return float(real.abs().min()) if real.numel() else 1.0
