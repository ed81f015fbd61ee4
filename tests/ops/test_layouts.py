"""The kernels compute the same for every memory layout, with the promised precision."""

import random
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from srulight.ops import reference

pytestmark = pytest.mark.usefixtures("device")

# The relative error of a gate. The gates of half types have 13 bits.
GATE = {torch.float64: 2**-50, torch.float32: 2**-21, torch.bfloat16: 2**-13, torch.float16: 2**-13}

Cast = Callable[[Tensor], Tensor]
sigmoid = torch.sigmoid


def lay(draw: random.Random, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Draws a tensor with one of many memory layouts."""
    way = draw.choice(("packed", "strided", "permuted", "expanded", "overlapping"))
    if way == "strided":
        steps = [draw.choice((1, 2, 3)) for _ in shape]
        whole = torch.randn([n * s for n, s in zip(shape, steps, strict=True)]).to(dtype)
        return whole[tuple(slice(None, None, s) for s in steps)]
    if way == "permuted":
        order = list(range(len(shape)))
        draw.shuffle(order)
        return (
            torch.randn([shape[i] for i in order])
            .to(dtype)
            .permute([order.index(i) for i in range(len(shape))])
        )
    if way == "expanded":
        return torch.randn([draw.choice((1, n)) for n in shape]).to(dtype).expand(shape)
    if way == "overlapping":
        strides = [draw.randint(0, 3) for _ in shape]
        size = 1 + sum(s * (n - 1) for s, n in zip(strides, shape, strict=True))
        start = draw.randint(0, 3)
        return torch.randn(start + size).to(dtype)[start:].as_strided(shape, strides)
    return torch.randn(shape).to(dtype)


def case(seed: int, dtype: torch.dtype, most: int) -> tuple[list[Any], list[Tensor]]:
    """Draws the arguments of the operator and gradients of its outputs."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    wide, bidirectional = reference.wide(dtype), draw.random() < 0.5
    batch, steps, planes = draw.randint(1, 4), draw.randint(1, 40), draw.choice((3, 4))
    channels = draw.randint(1, most) * (2 if bidirectional else 1)

    def maybe(shape: tuple[int, ...], dtype: torch.dtype, chance: float) -> Tensor | None:
        return lay(draw, shape, dtype) if draw.random() < chance else None

    sizes = (batch, steps, channels)
    arguments = [
        lay(draw, (batch, steps, planes, channels), dtype),
        maybe(sizes, dtype, 0.7) if planes == 3 else None,
        maybe((2, channels), wide, 0.7),
        lay(draw, (2, channels), wide),
        maybe((batch, channels), wide, 0.5),
        lay(draw, (batch, channels), wide).relu() if draw.random() < 0.3 else None,
        torch.randint(0, steps + 1, (batch,)) if draw.random() < 0.5 else None,
        1.3 if planes == 3 else 1.0,
        draw.randint(0, 2),
        bidirectional,
        True,
    ]
    return arguments, [lay(draw, sizes, dtype), lay(draw, (batch, channels), wide)]


def run(operator: Callable[..., Any], given: tuple[list[Any], list[Tensor]], cast: Cast) -> Any:  # noqa: ANN401
    """Returns outputs, last states and all gradients."""
    arguments, seeds = given
    leaves = [None if t is None else cast(t).detach().requires_grad_() for t in arguments[:5]]
    mask = None if arguments[5] is None else cast(arguments[5])
    h, last, _ = operator(*leaves, mask, *arguments[6:])
    inputs = [leaf for leaf in leaves if leaf is not None]
    grads = torch.autograd.grad([h, last], inputs, [cast(seed) for seed in seeds])
    return [h.detach(), last.detach(), *grads]


def spread(given: tuple[list[Any], list[Tensor]], exact: list[Tensor], error: float) -> list[float]:
    """Measures what errors of the gates come to.

    The recurrence can make them many times larger; and where a state is as near to 0 as they are
    large, the slope of a relu is that of one side or of the other.
    """
    found = [0.0] * len(exact)
    for draw in range(4):
        generator = torch.Generator(exact[0].device).manual_seed(draw)

        def gate(x: Tensor, draw: int = draw, generator: torch.Generator = generator) -> Tensor:
            sides = torch.rand(x.shape, generator=generator, dtype=x.dtype) - 0.5
            return sigmoid(x) * (1 + error * (sides.sign() if draw < 2 else 2 * draw - 5))

        with patch.object(torch, "sigmoid", gate):
            rough = run(reference.sru, given, Tensor.double)
        found = [
            max(before, (a - b).abs().max().item())
            for before, a, b in zip(found, rough, exact, strict=True)
        ]
    return found


@pytest.mark.parametrize("dtype", GATE, ids=str)
def test_no_layout_changes_a_bit(dtype: torch.dtype) -> None:
    for seed in range(100):
        given = case(seed, dtype, most=40)
        got = run(torch.ops.srulight.sru, given, lambda t: t)
        packed = run(torch.ops.srulight.sru, given, Tensor.contiguous)
        for one, other in zip(got, packed, strict=True):
            assert torch.equal(one, other), seed


@pytest.mark.parametrize("dtype", GATE, ids=str)
def test_kernels_are_as_exact_as_their_gates(dtype: torch.dtype) -> None:
    for seed in range(8):
        check_exactness(seed, dtype)


def check_exactness(seed: int, dtype: torch.dtype) -> None:
    given = case(seed, dtype, most=12)
    exact = run(reference.sru, given, Tensor.double)
    got = run(torch.ops.srulight.sru, given, lambda t: t)
    stored, wide = torch.finfo(dtype).eps, torch.finfo(reference.wide(dtype)).eps
    for one, other, gates in zip(got, exact, spread(given, exact, GATE[dtype]), strict=True):
        difference = (one.double() - other).abs().max().item()
        size = other.abs().max().item()
        assert difference <= gates + stored * size + 8 * wide, (seed, difference, size)
