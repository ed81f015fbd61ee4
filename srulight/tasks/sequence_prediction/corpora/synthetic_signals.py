"""Generated signals whose targets depend on pulses far in the past."""

from pathlib import Path
from typing import Any

import numpy as np

from srulight.runtime.errors import LARGEST_SEED, check_range
from srulight.targets import Kind
from srulight.tasks.sequence_prediction.corpora.base import Part, Per, SequenceCorpus, Sequences

_CHANNELS = 3
_NOISE = 0.3  # standard deviation; a pulse is at least 1 high


class SyntheticSignals(SequenceCorpus):
    """Generated signals of three channels, which need neither files nor a network.

    Each channel is noise with rare pulses, positive or negative, and the target depends on the last
    pulses alone. Between pulses, a model without memory can only guess.

    - ``class``: the channel that had the last pulse (a, b or c);
    - ``labels``: whether the last pulse of each channel was positive;
    - ``numbers``: the height of the last pulse of each channel.

    Args:
        kind: Kind of the targets.
        per: Whether each step has a target, or only the whole sequence: that of its last step.
        train_size: Number of training sequences.
        val_size: Number of validation sequences.
        test_size: Number of test sequences.
        steps: Number of steps of the longest sequences; the shortest have half as many.
        interval: Mean number of steps between two pulses of a channel.
        missing: Share of the numbers that are missing, 0 to below 1.
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
        check_range(1, interval=interval)
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
        names = [f"signal_{letter}" for letter in "abc"]
        return Sequences(train, val, test, numbers=names, categories=[], targets=[*"abc"])

    def _part(self, size: int, rng: np.random.Generator) -> Part:
        lengths = rng.integers(self.steps // 2, self.steps + 1, size)
        numbers, targets = [], []
        for length in lengths.tolist():
            heights = rng.uniform(1, 2, (length, _CHANNELS)) * rng.choice([-1, 1], (length, 3))
            pulses = rng.random((length, _CHANNELS)) < 1 / self.interval
            pulses[0] = True  # every channel has a last pulse from the first step on
            found = self._targets(np.where(pulses, heights, 0))
            targets.append(found if self.per == "step" else found[-1:])
            signals = np.where(pulses, heights, 0) + rng.normal(0, _NOISE, heights.shape)
            signals[rng.random(heights.shape) < self.missing] = np.nan
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

    def _targets(self, pulses: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Returns the target of each step from the heights of the pulses, 0 where there is none."""
        steps = np.arange(len(pulses))[:, None]
        last = np.maximum.accumulate(np.where(pulses != 0, steps, 0), axis=0)
        heights = np.take_along_axis(pulses, last, axis=0)
        if self.kind == "numbers":
            return heights.astype(np.float32)
        if self.kind == "labels":
            return (heights > 0).astype(np.float32)
        return last.argmax(axis=1)
