"""Compares exported models with the checkpoint, in their results and in their speed."""

import time
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from srulight.export.networks.base import Model, Network, Run, Sizes, Tensors
from srulight.runtime.errors import InputError

TOLERANCE = 1e-4
"""Largest difference, as a share of the largest value, or of 1 if all values are smaller."""

_SIZES = ((1, 1), (1, 19), (5, 3), (2, 40))
"""Sizes of the batch and of all other dimensions that are compared on random inputs."""

_SECONDS, _ROUNDS = 1.0, 7
"""Least time and number of rounds of a measurement of speed."""


class Difference(NamedTuple):
    """How far an export is from the checkpoint.

    Attributes:
        largest: Largest absolute difference.
        share: Largest difference as a share of the largest value of its output.
    """

    largest: float
    share: float


def compare(network: Network, models: list[Model], run: dict[str, Run],  # type: ignore[type-arg]
            real: dict[str, list[Tensors]]) -> dict[str, Difference]:  # fmt: skip
    """Compares all models on random inputs of several sizes and on real inputs.

    Args:
        network: The network.
        models: Its models.
        run: Function that runs each exported model, by name.
        real: Real inputs of the models, by name.

    Returns:
        The largest difference of each model, by name; and of models that run on the results of one
        another as "together".

    Raises:
        InputError: If a difference is too large.
    """
    found = {}
    for model in models:
        pairs = (
            pair
            for inputs in (*_random(model), *real.get(model.name, []))
            for pair in zip(model.run(inputs), run[model.name](inputs), strict=True)
        )
        found[model.name] = _largest(pairs, model.name)
    together = list(network.chained(run, real))
    if together:
        found["together"] = _largest(iter(together), "together")
    return found


def _random(model: Model) -> Iterator[Tensors]:
    names = {size for shape in model.inputs.values() for size in shape if isinstance(size, str)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for batch, others in _SIZES:
            sizes: Sizes = {name: max(others, model.least.get(name, 1)) for name in names}
            yield model.draw(sizes | {"batch": batch})


def _largest(pairs: Iterator[Tensors], name: str) -> Difference:
    worst = Difference(0.0, 0.0)
    for ours, theirs in pairs:
        worst = max(worst, difference(ours, theirs), key=lambda one: one.share)
    if worst.share > TOLERANCE:
        raise InputError(
            f"the exported model {name!r} differs from the checkpoint by {worst.largest:.3g}, "
            f"{worst.share:.3g} of its largest value, and {TOLERANCE:g} is allowed; report this "
            "with the report of srulight doctor"
        )
    return worst


def difference(ours: Tensor, theirs: Tensor) -> Difference:
    """Returns the largest difference of two tensors; equal infinities do not differ."""
    if ours.shape != theirs.shape:
        return Difference(float("inf"), float("inf"))
    if ours.numel() == 0:
        return Difference(0.0, 0.0)
    a, b = ours.double(), theirs.double()
    apart = torch.where(a == b, 0.0, (a - b).abs())
    apart = torch.where(apart.isnan(), float("inf"), apart)
    finite = a.abs()[a.isfinite()]
    scale = max(1.0, float(finite.max()) if len(finite) else 1.0)
    largest = float(apart.max())
    return Difference(largest, largest / scale)


class Speed(NamedTuple):
    """Median times of one call, in milliseconds.

    Attributes:
        checkpoint: Time of the checkpoint.
        exported: Time of the export.
    """

    checkpoint: float
    exported: float


def speed(model: Model, run: Run, batch: int, steps: int) -> Speed:
    """Times a model in PyTorch and its export, in turns.

    Args:
        model: The model.
        run: Function that runs the exported model.
        batch: Number of sequences.
        steps: Size of all other named dimensions.
    """
    names = {size for shape in model.inputs.values() for size in shape if isinstance(size, str)}
    sizes = {name: max(steps, model.least.get(name, 1)) for name in names} | {"batch": batch}
    inputs = model.draw(sizes)
    contenders = (model.run, run)
    times: list[list[float]] = [[], []]
    for one in contenders:
        for _ in range(2):
            one(inputs)
    start = time.perf_counter()
    while time.perf_counter() - start < _SECONDS or len(times[0]) < _ROUNDS:
        for one, own in zip(contenders, times, strict=True):
            before = time.perf_counter()
            one(inputs)
            own.append((time.perf_counter() - before) * 1e3)
        if len(times[0]) >= 1000:
            break
    return Speed(*map(median, times))
