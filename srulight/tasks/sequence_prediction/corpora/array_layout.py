"""How sequences lie in NumPy arrays."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.errors import InputError
from srulight.tasks.sequence_prediction.corpora.assembly import floats

_LONGEST = 1 << 40  # steps; more than any file can contain


class Layout:
    """How the steps of sequences lie in arrays: one after the other, or padded at the end.

    Args:
        path: File of the arrays, for messages.
        lengths: Number of steps of each sequence, (N,) int64.
        shape: Shape of the features.
    """

    def __init__(self, path: Path, lengths: NDArray[np.int64], shape: tuple[int, ...]) -> None:
        self.path = path
        self.lengths = lengths
        self.rows = int(lengths.sum())
        self.valid: NDArray[np.bool_] | None = None
        if len(shape) > 1 and shape[0] == len(lengths) != self.rows:
            self.valid = np.arange(shape[1]) < lengths[:, None]

    def steps(self, array: NDArray[Any], name: str) -> NDArray[Any]:
        """Returns an array of steps without padding, (R, ...).

        Args:
            array: The array from the file, (R, ...) or, padded, (N, T, ...).
            name: Its name, for messages.

        Raises:
            InputError: If the array has another number of steps.
        """
        shape = (self.rows,) if self.valid is None else self.valid.shape
        fits = self.valid is None or self.valid.sum() == self.rows
        if array.shape[: len(shape)] != shape or not fits:
            raise InputError(
                f"{self.path}, {name}: expected {self.rows:,} steps in {len(self.lengths):,} "
                f"sequences, got the shape {array.shape}; correct the array, or that of the lengths"
            )
        return array if self.valid is None else array[self.valid]

    def sequences(self, array: NDArray[Any], name: str) -> NDArray[Any]:
        """Returns an array with an entry per sequence.

        Args:
            array: The array from the file, (N, ...).
            name: Its name, for messages.

        Raises:
            InputError: If the array has another number of entries.
        """
        if array.shape[:1] != self.lengths.shape:
            raise InputError(
                f"{self.path}, {name}: expected {len(self.lengths):,} targets, one per sequence, "
                f"got the shape {array.shape}; correct the array, or set --data.corpus.per=step"
            )
        return array


def as_lengths(array: NDArray[Any], place: str) -> NDArray[np.int64]:
    """Checks the numbers of steps of sequences.

    Args:
        array: The array from the file.
        place: Place of the array, for messages.

    Raises:
        InputError: If the array does not have the shape (N,), or contains anything but integers of
            at least 1.
    """
    right = array.dtype.kind in "iu" and array.ndim == 1 and len(array) > 0
    if not right or not ((array >= 1) & (array <= _LONGEST)).all():
        got = f"{array.dtype} of shape {array.shape}"
        if right:
            got = str(array[~((array >= 1) & (array <= _LONGEST))][0])
        raise InputError(
            f"{place}: expected integers of at least 1, one per sequence, got {got}; correct the "
            "array"
        )
    return array.astype(np.int64)


def as_times(array: NDArray[Any], place: str) -> NDArray[np.float64]:
    """Converts the times of steps to float64.

    Args:
        array: The times of all steps, (R,) of numbers.
        place: Place of the array, for messages.

    Raises:
        InputError: If the array has another shape, or does not contain numbers.
    """
    times = floats(array, place).astype(np.float64)
    if times.ndim > 1:
        raise InputError(
            f"{place}: expected one time per step, got the shape {times.shape}; correct the array"
        )
    return times


def side_by_side(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Joins arrays of targets.

    Args:
        arrays: One array, which is returned unchanged, or several, (N,) or (N, K) each.

    Returns:
        The columns of all arrays, (N, ...).
    """
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
