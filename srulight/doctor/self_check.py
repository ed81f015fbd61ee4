"""Compares the kernels with the reference, which runs in float64, on random cases."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from srulight import ops
from srulight.doctor.cases import DTYPES, Case, draw_case, draw_tensors
from srulight.ops import reference

TOLERANCES = {
    torch.float64: (64 * 2**-52, 256 * 2**-52),
    torch.float32: (64 * 2**-23, 256 * 2**-23),
    torch.bfloat16: (4 * 2**-13, 16 * 2**-13),
    torch.float16: (4 * 2**-13, 16 * 2**-13),
}
"""Tolerance of values and of gradients, relative to one plus the largest value.

It is a number of roundings of the arithmetic, which add up over the steps; gradients also sum over
the sequences. The gates of half types are accurate to 13 bits. Correct kernels use at most a tenth.
"""

_NAMES = ("u", "skip", "v", "b", "c0")
_SEED = 20170908


@dataclass
class Outcome:
    """What comparing cases found.

    Attributes:
        cases: Number of cases that were compared, by kind, such as the dtype.
        worst: Largest difference, relative to its tolerance; above 1 is wrong.
        difference: That difference.
        where: The tensor and the case with that difference.
    """

    cases: dict[str, int] = field(default_factory=dict)
    worst: float = 0.0
    difference: float = 0.0
    where: str = ""

    def count(self, kind: str) -> None:
        """Counts a case that was compared."""
        self.cases[kind] = self.cases.get(kind, 0) + 1

    def add(self, name: str, case: object, ratio: float, difference: float) -> None:
        """Adds the largest difference of one tensor, relative to its tolerance."""
        if not ratio <= self.worst:  # also if it is not a number
            self.worst = ratio if ratio == ratio else float("inf")
            self.difference, self.where = difference, f"{name} in the case {case}"


def check_kernels(device: str, seconds: float, outcome: Outcome | None = None) -> Outcome:
    """Compares outputs and gradients of the operator with the reference, case by case.

    The first cases go through all combinations of the options that select another kernel. It
    compares at least one case per dtype; then the time begins.

    Args:
        device: Device to compute on, such as cpu or cuda.
        seconds: Time after which it begins no other case, in seconds.
        outcome: What to add the comparisons to; None for a new outcome.
    """
    end = 0.0
    outcome = Outcome() if outcome is None else outcome
    generator = torch.Generator().manual_seed(_SEED)
    number = 0
    with _nan_in_fresh_memory():
        while number < len(DTYPES) or time.monotonic() < end:
            case = draw_case(number, generator)
            for name, got, exact in _results(case, device, generator):
                tolerance = TOLERANCES[case.dtype][name.startswith("gradient")]
                outcome.add(name, case, *difference(got, exact, tolerance))
            outcome.count(str(case.dtype).removeprefix("torch."))
            number += 1
            if number == len(DTYPES):  # the first cases may have to wait for imports
                end = time.monotonic() + seconds
    return outcome


def difference(got: Tensor, exact: Tensor, relative: float) -> tuple[float, float]:
    """Returns the largest difference relative to its tolerance, and the difference there.

    Args:
        got: Result of a kernel, on any device. If it has a half type, the tolerance includes one
            rounding to this type.
        exact: Expected result in float64, on the CPU.
        relative: Tolerance of the arithmetic, relative to one plus the largest value.
    """
    if not exact.numel():
        return 0.0, 0.0
    exact = exact.detach()
    tolerance = (relative * (1 + exact.abs().max())).expand_as(exact)
    if got.dtype.itemsize < 4:
        info = torch.finfo(got.dtype)
        tolerance = tolerance + 0.51 * info.eps * exact.abs() + info.tiny * info.eps
    distance = (got.detach().cpu().double() - exact).abs()
    ratio = (distance / tolerance).nan_to_num(nan=torch.inf).flatten()
    at = int(ratio.argmax())
    return float(ratio[at]), float(distance.flatten()[at])


def _results(
    case: Case, device: str, generator: torch.Generator
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Gives each output and gradient of a case by name, with what it should be."""
    tensors = draw_tensors(case, generator)
    shape = (case.batch, case.steps, case.channels)
    seeds = [
        torch.randn(shape, generator=generator).to(case.dtype),
        torch.randn(shape[0], shape[2], generator=generator).to(reference.wide(case.dtype)),
    ]
    scale = 1.3 if case.skip == "input" else 1.0

    exact_inputs: Any = [_leaf(t, torch.float64) for t in tensors]
    activation = reference.ACTIVATIONS.index(case.activation)
    settings: Any = (scale, activation, case.bidirectional, False)
    h, last, _ = reference.sru(*exact_inputs, *settings)
    exact = [h, last, *_gradients([h, last], exact_inputs, [s.double() for s in seeds])]

    inputs: Any = [_leaf(t, device=device) for t in tensors]
    options: dict[str, Any] = {
        "scale": scale, "activation": case.activation, "bidirectional": case.bidirectional
    }  # fmt: skip
    h, last = ops.sru(*inputs, **options)
    got = [h, last, *_gradients([h, last], inputs, [s.to(device) for s in seeds])]
    names = [f"gradient of {n}" for n, t in zip(_NAMES, inputs, strict=False) if t is not None]
    names = ["the output", "the last state", *names]
    yield from zip(names, got, exact, strict=True)
    with torch.no_grad():  # another kernel, which saves no states
        inferred = ops.sru(*inputs, **options)
    names = ["the output without gradients", "the last state without gradients"]
    yield from zip(names, inferred, exact[:2], strict=True)


def _leaf(tensor: Tensor | None, dtype: torch.dtype | None = None, device: str = "cpu") -> Any:  # noqa: ANN401
    if tensor is None or not tensor.is_floating_point():
        return None if tensor is None else tensor.to(device)
    return tensor.to(device, dtype or tensor.dtype, copy=True).requires_grad_()


def _gradients(outputs: list[Tensor], inputs: list[Any], seeds: list[Tensor]) -> list[Tensor]:
    leaves = [t for t in inputs[: len(_NAMES)] if t is not None]
    return list(torch.autograd.grad(outputs, leaves, seeds))


@contextmanager
def _nan_in_fresh_memory() -> Iterator[None]:
    """Fills new memory with NaNs, so that a place that a kernel does not write to is noticed."""
    before = torch.get_deterministic_debug_mode()
    # torch.use_deterministic_algorithms does the same, but imports torch's compiler, which is slow.
    torch.set_deterministic_debug_mode("warn")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
