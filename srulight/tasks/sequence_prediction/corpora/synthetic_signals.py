"""Generated signals whose targets depend on pulses far in the past."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.errors import LARGEST_SEED, check_range
from srulight.targets import Kind
from srulight.tasks.sequence_prediction.corpora.base import Part, Per, SequenceCorpus, Sequences

_LETTERS = "abc"
_CHANNELS = len(_LETTERS)
_NOISE = 0.1  # standard deviation; a pulse is at least 1 high


class SyntheticSignals(SequenceCorpus):
    """Generated signals of three channels, which need neither files nor a network.

    Each channel is noise with rare pulses, positive or negative, and the target depends on the last
    pulses alone. Between pulses, a model without memory can only guess. No two channels have a
    pulse at the same step, and each of the first three steps has a pulse in another channel.

    - ``class``: the channel that had the last pulse (a, b or c);
    - ``labels``: whether the last pulse of each channel was positive;
    - ``numbers``: the height of the last pulse of each channel.

    Labels and numbers are missing before the first pulse of their channel.

    Args:
        kind: Kind of the targets.
        per: Whether each step has a target, or only the whole sequence: that of its last step.
        train_size: Number of training sequences.
        val_size: Number of validation sequences.
        test_size: Number of test sequences.
        steps: Number of steps of the longest sequences; the shortest have half as many.
        interval: Mean number of steps between two pulses of a channel, at least 3.
        missing: Probability that a number between pulses is missing, 0 to below 1.
        seed: Seed that determines the signals.
    """

    def __init__(
        self,
        kind: Kind = "class",
        per: Per = "step",
        train_size: int = 500,
        val_size: int = 100,
        test_size: int = 100,
        steps: int = 100,
        interval: float = 25.0,
        missing: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_range(1, train_size=train_size, val_size=val_size, test_size=test_size)
        check_range(2, steps=steps)
        check_range(_CHANNELS, interval=interval)
        check_range(0, 0.99, missing=missing)
        check_range(0, LARGEST_SEED, seed=seed)
        self.kind = kind
        self.per = per
        self.sizes = (train_size, val_size, test_size)
        self.steps = steps
        self.interval = interval
        self.missing = missing
        self.seed = seed

    def recipe(self, root: Path) -> Any:  # noqa: ANN401
        return None

    def read(self, root: Path) -> Sequences:
        train, val, test = (
            self._part(size, np.random.default_rng([self.seed, i]))
            for i, size in enumerate(self.sizes)
        )
        names = [f"signal_{letter}" for letter in _LETTERS]
        return Sequences(train, val, test, numbers=names, categories=[], targets=[*_LETTERS])

    def _part(self, size: int, rng: np.random.Generator) -> Part:
        lengths = rng.integers(self.steps // 2, self.steps + 1, size)
        numbers, targets = [], []
        for length in lengths.tolist():
            pulses = self._pulses(length, rng)
            found = self._targets(pulses)
            targets.append(found if self.per == "step" else found[-1:])
            signals = pulses + rng.normal(0, _NOISE, pulses.shape)
            signals[(rng.random(pulses.shape) < self.missing) & (pulses == 0)] = np.nan
            numbers.append(signals.astype(np.float32))
        rows = int(lengths.sum())
        return Part(
            names=[str(i) for i in range(size)],
            lengths=lengths.astype(np.int64),
            numbers=np.concatenate(numbers),
            categories=np.empty((rows, 0), dtype=object),
            times=None,
            targets=np.concatenate(targets),
            place=lambda row: f"step {row} of the generated signals",
        )

    def _pulses(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Returns the heights of the pulses of a sequence, (T, 3), 0 where there is none."""
        heights = rng.uniform(1, 2, length) * rng.choice([-1, 1], length)
        channels = rng.integers(_CHANNELS, size=length)
        first = rng.permutation(_CHANNELS)[:length]
        channels[: len(first)] = first
        there = rng.random(length) < _CHANNELS / self.interval
        there[:_CHANNELS] = True
        return np.where(there, heights, 0)[:, None] * (channels[:, None] == np.arange(_CHANNELS))

    def _targets(self, pulses: NDArray[np.float64]) -> NDArray[Any]:
        """Returns the target of each step from the heights of the pulses."""
        steps = np.arange(len(pulses))[:, None]
        last = np.maximum.accumulate(np.where(pulses != 0, steps, -1), axis=0)
        if self.kind == "class":
            return last.argmax(axis=1)
        heights = np.take_along_axis(pulses, np.maximum(last, 0), axis=0)
        targets = heights if self.kind == "numbers" else heights > 0
        return np.where(last < 0, np.nan, targets).astype(np.float32)
