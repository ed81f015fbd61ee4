"""Turns the columns of a sequence into the features that a model reads, whole or step by step."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.errors import InputError
from srulight.runtime.structure import require

KNOWS: dict[str, Any] = {
    "numbers": [str], "mean": [float], "std": [float], "masked": [int],
    "categories": {"*": [str]}, "intervals": (list, type(None)),
}  # fmt: skip
"""Structure of ``features`` in the metadata, as ``structure.require`` takes it.

``numbers`` are the names of the numeric features, ``mean`` and ``std`` standardize them, ``masked``
are the indices of those that were missing in training, ``categories`` are the known values of each
categorical feature, and ``intervals`` are the mean and the standard deviation of the time between
two steps if the model reads it, otherwise None.
"""

_LARGEST = 1e4  # in standard deviations; beyond it, a feature would drown all others
_PIECE = 1 << 20  # Number of values that are processed at a time.


class Carry(NamedTuple):
    """What the features of the next step depend on.

    Attributes:
        last: Last known value of each numeric feature, (F,) float64; NaN before the first.
        time: Time of the last step; None before the first step, or without times.
    """

    last: NDArray[np.float64]
    time: float | None


class Features:
    """Computes the features that a model reads.

    A missing number is replaced by the last one that is known in its sequence, or by the mean of
    the training data. Then come, if the metadata say so, the time since the step before, and a mask
    for each feature that was missing in training: 1 where it is known, otherwise 0. A category
    becomes a code; 0 stands for a missing value and for values unknown to training.

    Args:
        metadata: ``features`` in the metadata, as ``KNOWS`` describes them; not trusted.

    Raises:
        InputError: If the metadata have another structure.

    Attributes:
        size: Number of numeric channels: numbers, interval and masks.
        category_sizes: Number of codes of each categorical feature.
    """

    def __init__(self, metadata: dict[str, Any]) -> None:
        _check(metadata)
        self.metadata = metadata
        self.names: list[str] = metadata["numbers"]
        self._mean = np.array(metadata["mean"], dtype=np.float64)
        self._std = np.array(metadata["std"], dtype=np.float64)
        self._masked: list[int] = metadata["masked"]
        self._intervals: list[float] | None = metadata["intervals"]
        self._codes = [
            {value: code for code, value in enumerate(values, 1)}
            for values in metadata["categories"].values()
        ]
        self.size = len(self.names) + (self._intervals is not None) + len(self._masked)
        self.category_sizes = [len(codes) + 1 for codes in self._codes]

    def begin(self) -> Carry:
        """Returns what precedes the first step of a sequence."""
        return Carry(np.full(len(self.names), np.nan), None)

    def encode(
        self,
        numbers: NDArray[Any],
        categories: NDArray[Any],
        times: NDArray[np.float64] | None,
        carry: Carry | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], Carry]:
        """Computes the features of the next steps of a sequence.

        Args:
            numbers: Numeric features, (T, F); NaN where missing.
            categories: Categorical features, (T, C) of strings; the empty string where missing.
            times: Times of the steps, (T,); None if there are none.
            carry: What the previous call returned; None at the start of a sequence.

        Returns:
            Numeric features, (T, F') float32, codes of the categories, (T, C) int64, and what the
            next call needs. All steps in one call, or in several, give the same features.
        """
        carry = self.begin() if carry is None else carry
        steps = len(numbers)
        values = np.vstack((carry.last[None], numbers)).astype(np.float64)
        known = ~np.isnan(values)
        places = np.where(known, np.arange(steps + 1)[:, None], 0)
        filled = np.take_along_axis(values, np.maximum.accumulate(places, axis=0), axis=0)
        with np.errstate(over="ignore"):  # what overflows is clipped as well
            standard = np.nan_to_num((filled[1:] - self._mean) / self._std)
        standard = np.clip(standard, -_LARGEST, _LARGEST)
        parts = [standard]
        if self._intervals is not None:
            parts.append(self._interval(times, steps, carry)[:, None])
        parts.append(known[1:, self._masked])
        codes = np.zeros((steps, len(self._codes)), dtype=np.int64)
        for i, known_codes in enumerate(self._codes):
            codes[:, i] = [known_codes.get(value, 0) for value in categories[:, i]]
        time = carry.time if times is None or not steps else float(times[-1])
        carry = Carry(filled[-1].copy(), time)  # a view would keep all steps in memory
        return np.concatenate(parts, axis=1).astype(np.float32), codes, carry

    def _interval(
        self, times: NDArray[np.float64] | None, steps: int, carry: Carry
    ) -> NDArray[np.float64]:
        """Returns the standardized time since the step before; 0, the mean, at the first step."""
        assert self._intervals is not None
        if times is None or not steps:
            return np.zeros(steps)
        mean, std = self._intervals
        first = times[0] - mean if carry.time is None else carry.time
        return np.clip((np.diff(times, prepend=first) - mean) / std, -_LARGEST, _LARGEST)


def _check(metadata: dict[str, Any]) -> None:
    """Raises InputError if the metadata have another structure than ``KNOWS`` describes."""
    where = "features in the metadata"
    require(metadata, KNOWS, where)
    size = len(metadata["numbers"])
    for name in ("mean", "std"):
        if len(metadata[name]) != size or not np.isfinite(metadata[name]).all():
            raise InputError(
                f"{where}.{name} must be one finite number per name ({size}), got "
                f"{metadata[name]!r:.60}"
            )
    if not all(0 <= i < size for i in metadata["masked"]):
        raise InputError(
            f"{where}.masked must be indices below {size}, got {metadata['masked']!r:.60}"
        )
    intervals = metadata["intervals"]
    if intervals is not None:
        require(intervals, [float], f"{where}.intervals")
        if len(intervals) != 2 or not np.isfinite(intervals).all():
            raise InputError(
                f"{where}.intervals must be a mean and a standard deviation, got {intervals!r:.60}"
            )
    scales = [*metadata["std"], *([] if intervals is None else intervals[1:])]
    if not all(scale > 0 for scale in scales):
        raise InputError(f"{where} must have standard deviations above 0, got {min(scales)}")


class Columns(NamedTuple):
    """What the numeric features of a part look like.

    Attributes:
        known: Number of steps at which each feature is known, (F,).
        mean: Mean of each feature, (F,); 0 if it is never known.
        std: Standard deviation of each feature, (F,); 1 if the feature never changes.
        constant: Whether each feature never changes, (F,).
    """

    known: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    constant: NDArray[np.bool_]


def describe_columns(values: NDArray[Any]) -> Columns:
    """Measures numeric features without a copy of the table, which may be larger than the memory.

    Args:
        values: Numeric features of all steps, (R, F); NaN where missing, never infinite.
    """
    width = values.shape[1]
    known, total, squares = np.zeros(width, dtype=np.int64), np.zeros(width), np.zeros(width)
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    for block in _blocks(values):
        known += (~np.isnan(block)).sum(0)
        total += np.nansum(block, axis=0)
        low = np.fmin(low, np.fmin.reduce(block, axis=0))
        high = np.fmax(high, np.fmax.reduce(block, axis=0))
    assert np.isfinite(total).all(), "a corpus returned infinite values"
    mean = total / np.maximum(known, 1)
    for block in _blocks(values):
        squares += np.nansum(np.square(block - mean), axis=0)
    std = np.sqrt(squares / np.maximum(known, 1))
    constant = low >= high
    # The deviation of a constant feature is rounding; that of tiny numbers may be rounded to zero.
    return Columns(known, mean, np.where(constant | (std == 0), 1, std), constant)


def _blocks(values: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    rows = rows_per_piece(values.shape[1])
    for start in range(0, len(values), rows):
        yield values[start : start + rows].astype(np.float64)


def rows_per_piece(width: int) -> int:
    """Returns the number of steps to process at a time, so that memory stays small.

    Args:
        width: Number of features per step.
    """
    return max(1, _PIECE // max(1, width))


def describe_features(
    numbers: Sequence[str],
    categories: Sequence[str],
    columns: Columns,
    words: NDArray[Any],
    times: NDArray[np.float64] | None,
    lengths: NDArray[np.int64],
) -> dict[str, Any]:
    """Returns ``features`` of the metadata, measured from the training data alone.

    Args:
        numbers: Names of the numeric features, F.
        categories: Names of the categorical features, C.
        columns: What ``describe_columns`` returned for the training steps.
        words: Categorical features of all training steps, (R, C) of strings.
        times: Times of all training steps, (R,), if the model reads the time between steps.
        lengths: Number of steps of each sequence, (N,).
    """
    intervals = None
    if times is not None:
        between = np.delete(np.diff(times), np.cumsum(lengths)[:-1] - 1)
        scale = float(between.std()) if len(between) else 0.0
        intervals = [float(between.mean()) if len(between) else 0.0, scale or 1.0]
    return {
        "numbers": list(numbers),
        "mean": columns.mean.tolist(),
        "std": columns.std.tolist(),
        "masked": np.flatnonzero(columns.known < lengths.sum()).tolist(),
        "categories": {
            name: sorted({*map(str, words[:, i])} - {""}) for i, name in enumerate(categories)
        },
        "intervals": intervals,
    }
