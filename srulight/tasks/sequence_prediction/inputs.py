"""Reads the sequences that a user passes to the model."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from srulight.data.cells import as_number, as_text, as_time, read_cell
from srulight.runtime.errors import InputError


class Columns(Protocol):
    """Values by the names of their columns: a dictionary or a data frame."""

    def keys(self) -> Iterable[str]:
        """Returns the names of the columns."""

    def __getitem__(self, name: str, /) -> Any: ...  # noqa: ANN401


def has_columns(inputs: Any) -> TypeGuard[Columns]:  # noqa: ANN401
    """Returns whether inputs are values by the names of their columns."""
    return hasattr(inputs, "keys")


@dataclass(frozen=True)
class Steps:
    """Some steps of a sequence, as ``Features.encode`` takes them.

    Attributes:
        numbers: Numeric features, (T, F) floating point; NaN where missing, never infinite.
        categories: Categorical features, (T, C) of strings; the empty string where missing.
        times: Times of the steps, (T,) float64; None if there are none.
        place: Returns the place of a step for messages.
    """

    numbers: NDArray[Any]
    categories: NDArray[Any]
    times: NDArray[np.float64] | None
    place: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.numbers)

    def pieces(self, size: int) -> Iterator["Steps"]:
        """Divides the steps into pieces.

        Args:
            size: Number of steps per piece, at most.
        """
        for start in range(0, len(self), size):
            yield self.piece(start, size)

    def piece(self, start: int, size: int) -> "Steps":
        """Returns the steps from ``start`` on, at most ``size`` of them."""
        rows = slice(start, start + size)
        times = None if self.times is None else self.times[rows]
        return Steps(
            self.numbers[rows], self.categories[rows], times, lambda i: self.place(start + i)
        )

    def check_times(self, before: float | None) -> None:
        """Raises InputError unless the times increase.

        Args:
            before: Time of the step before the first one; None if there is none.
        """
        if self.times is None:
            return
        previous = np.concatenate(([-math.inf if before is None else before], self.times[:-1]))
        wrong = ~(np.isfinite(self.times) & (self.times > previous))
        if not wrong.any():
            return
        step = int(wrong.argmax())
        place, time = self.place(step), self.times[step]
        if not np.isfinite(time):
            raise InputError(f"{place}: expected a time, got {time}; each step needs one")
        raise InputError(
            f"{place}: expected a time after {previous[step]:.15g}, that of the step before, got "
            f"{time:.15g}; sort the steps by time, and remove duplicates"
        )


class InputReader:
    """Reads sequences with the columns that the model was trained on.

    Args:
        metadata: Metadata of the task.

    Attributes:
        numbers: Names of the numeric features, F.
        categories: Names of the categorical features, C.
        time: Name of the column with the times.
        needs_times: Whether the model reads the time between steps.
    """

    def __init__(self, metadata: dict[str, Any]) -> None:
        features = metadata["features"]
        self.numbers: list[str] = features["numbers"]
        self.categories: list[str] = list(features["categories"])
        self.time: str = metadata["time_column"] or "time"
        self.needs_times: bool = features["intervals"] is not None
        needed = [*self.numbers, *self.categories, *([self.time] if self.needs_times else [])]
        self._needed = list(dict.fromkeys(needed))
        others = [self.time, metadata["sequence_column"], *metadata["target"]["columns"]]
        self._known = {*needed, *others}

    def sequences(self, inputs: Any) -> list[Steps]:  # noqa: ANN401
        """Reads one sequence or several.

        Args:
            inputs: One sequence, as ``steps`` takes it, or a list of them. An array of three
                dimensions contains several.

        Raises:
            InputError: If a sequence cannot be used.
        """
        is_array = isinstance(inputs, np.ndarray | Tensor)
        if has_columns(inputs) or (is_array and inputs.ndim < 3):
            inputs = [inputs]
        return [self.steps(one, f"inputs[{i}]") for i, one in enumerate(inputs)]

    def steps(self, inputs: Any, where: str) -> Steps:  # noqa: ANN401
        """Reads steps of one sequence.

        Args:
            inputs: Numeric features, as ``arrays`` takes them; or a mapping from the names of the
                columns to their values, (T,).
            where: Name of the sequence, for error messages.

        Raises:
            InputError: If a column is missing or unknown, the shape differs from that of the
                training data, there are no steps, a number is infinite, or the times do not
                increase.
        """
        if has_columns(inputs):
            return self._checked(self._from_columns(inputs, where), where)
        return self.arrays(inputs, None, where)

    def arrays(self, values: Any, times: Any, where: str) -> Steps:  # noqa: ANN401
        """Reads steps of one sequence from arrays.

        Args:
            values: Numeric features, (T, ...), in the order of the columns in training. All
                dimensions after the first are flattened.
            times: Times of the steps, (T,); None if there are none.
            where: Name of the sequence, for error messages.

        Raises:
            InputError: As for ``steps``.
        """
        missing = [*self.categories, *([self.time] if self.needs_times and times is None else [])]
        if missing:
            raise InputError(
                f"{where}: expected a mapping from columns to values, because the model also reads "
                f"{', '.join(map(repr, missing))}, got {type(values).__name__}"
            )
        values, size = floats(values, where), len(self.numbers)
        if values.ndim == 0 or math.prod(values.shape[1:]) != size:
            raise InputError(
                f"{where}: expected the shape (T, {size}), with a column for each of "
                f"{', '.join(self.numbers)}, got {values.shape}"
            )
        if times is not None:
            times = floats(times, where).astype(np.float64)
            if times.shape != values.shape[:1]:
                raise InputError(
                    f"{where}: expected {len(values)} times, one per step, got the shape "
                    f"{times.shape}"
                )
        words = np.empty((len(values), 0), dtype=object)
        flat = values.reshape(len(values), size)
        steps = Steps(flat, words, times, lambda step: f"{where}, step {step}")
        return self._checked(steps, where)

    def row(self, row: dict[str, Any], place: str) -> Steps:
        """Reads one step from a row of a table.

        Args:
            row: Cells by the names of their columns; other columns may be present.
            place: Place of the row, for error messages.

        Raises:
            InputError: If a column is missing, or a cell contains no finite number.
        """
        self._require(row, place)
        numbers = [read_cell(as_number, row[name], name, place) for name in self.numbers]
        words = np.empty((1, len(self.categories)), dtype=object)
        words[0] = [read_cell(as_text, row[name], name, place) for name in self.categories]
        times = None
        if self.needs_times or self.time in row:
            times = np.array([read_cell(as_time, row[self.time], self.time, place)])
        return Steps(np.array([numbers]), words, times, lambda _: place)

    def _checked(self, steps: Steps, where: str) -> Steps:
        if not len(steps):
            raise InputError(f"{where}: expected at least one step, got none")
        infinite = np.isinf(steps.numbers)
        if infinite.any():
            step, column = (int(i) for i in np.argwhere(infinite)[0])
            raise InputError(
                f"{steps.place(step)}: expected a finite number in {self.numbers[column]!r}, got "
                f"{steps.numbers[step, column]}; pass NaN where a value is missing"
            )
        steps.check_times(None)
        return steps

    def _from_columns(self, inputs: Columns, where: str) -> Steps:
        self._require(inputs, where)
        for name in inputs.keys():  # noqa: SIM118  a data frame iterates over its columns alone
            if name not in self._known:
                raise InputError(
                    f"{where}: expected the columns {', '.join(self._needed)}, got {name!r} as "
                    "well; remove it"
                )
        columns: dict[str, NDArray[Any]] = {}
        timed = self.needs_times or self.time in inputs.keys()  # noqa: SIM118
        for name in dict.fromkeys([*self._needed, *([self.time] if timed else [])]):
            values = columns[name] = np.atleast_1d(self._column(inputs[name], name, where))
            if values.ndim != 1:
                raise InputError(
                    f"{where}: expected one value per step in {name!r}, got the shape "
                    f"{values.shape}"
                )
            first = next(iter(columns))
            if len(values) != len(columns[first]):
                raise InputError(
                    f"{where}: expected columns of the same length, got {len(columns[first])} "
                    f"values in {first!r} and {len(values)} in {name!r}"
                )
        count = len(next(iter(columns.values()), ()))
        numbers = [columns[name] for name in self.numbers]
        words = np.empty((count, len(self.categories)), dtype=object)
        for i, name in enumerate(self.categories):
            words[:, i] = [read_cell(as_text, value, name, where) for value in columns[name]]
        return Steps(
            np.stack(numbers, axis=1) if numbers else np.empty((count, 0)),
            words,
            columns[self.time] if timed else None,
            lambda step: f"{where}, step {step}",
        )

    def _column(self, values: Any, name: str, where: str) -> NDArray[Any]:  # noqa: ANN401
        if name in self.categories:
            return np.asarray(values, dtype=object)
        array = np.asarray(values)
        if name != self.time or array.dtype.kind not in "MOU":
            found = floats(values, f"{where}, column {name!r}")
            return found.astype(np.float64) if name == self.time else found
        if array.dtype.kind == "M":
            array = array.astype("datetime64[us]")
        dates = array.astype(object)
        times = [read_cell(as_time, value, name, where) for value in dates.ravel()]
        return np.array(times, dtype=np.float64).reshape(dates.shape)

    def _require(self, columns: Columns, where: str) -> None:
        names = columns.keys()
        missing = next((name for name in self._needed if name not in names), None)
        if missing is not None:
            raise InputError(
                f"{where}: expected a column {missing!r}, got the columns "
                f"{', '.join(map(str, names)) or 'none'}; the model reads "
                f"{', '.join(self._needed)}"
            )


def floats(values: Any, where: str) -> NDArray[Any]:  # noqa: ANN401
    """Returns numbers as an array of floating point; an array of that kind remains as it is.

    Args:
        values: Numbers: an array, a tensor, or lists.
        where: Name of the values, for the error message.

    Raises:
        InputError: If a value is not a number.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values if values.dtype.itemsize > 2 else values.float()).numpy()
    try:
        found = np.asarray(values)
        return found if found.dtype.kind == "f" else found.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: expected numbers, got {values!r:.60}") from error
