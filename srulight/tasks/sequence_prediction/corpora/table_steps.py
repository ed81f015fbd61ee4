"""Reads the steps of sequences from tables, and groups them by sequence."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.data.columns import Column, Columns, TableFile, Texts
from srulight.runtime.faults import Faults


class Layout(NamedTuple):
    """What to read from tables, by the names of the columns.

    Attributes:
        sequence: Column that names the sequences; None if each table is one sequence.
        time: Column of the times; None if there are none.
        numbers: Numeric features.
        categories: Categorical features.
        targets: Columns of the targets, all of which contain text or numbers.
        columns: How to read each of these columns except the targets.
    """

    sequence: str | None
    time: str | None
    numbers: Sequence[str]
    categories: Sequence[str]
    targets: Mapping[str, Column]
    columns: Mapping[str, Column]


class Steps(NamedTuple):
    """The steps of sequences, one sequence after the other, in the order of first appearance.

    Attributes:
        names: Names of the sequences, N.
        lengths: Number of steps of each sequence, (N,) int64.
        numbers: Numeric features, (R, F) float64; NaN where missing.
        categories: Categorical features, (R, C) of strings; the empty string where missing.
        times: Time of each step, (R,) float64, increasing within each sequence; None if there are
            none.
        texts: The target column if it contains text.
        values: The target columns if they contain numbers, (R, K) float64; NaN where missing.
        order: Row of each step in the tables, counted through all tables.
        place: Returns the place of a step for messages.
    """

    names: list[str]
    lengths: NDArray[np.int64]
    numbers: NDArray[np.float64]
    categories: NDArray[np.object_]
    times: NDArray[np.float64] | None
    texts: Texts | None
    values: NDArray[np.float64] | None
    order: NDArray[np.int64]
    place: Callable[[int], str]

    @property
    def starts(self) -> NDArray[np.int64]:
        """First step of each sequence, (N,)."""
        return np.cumsum(self.lengths) - self.lengths


def read_steps(tables: Sequence[TableFile], names: Sequence[str], layout: Layout) -> Steps:
    """Reads the steps of sequences.

    Args:
        tables: The tables, at least one.
        names: Name of each table, for the sequence that it contains if ``layout.sequence`` is None.
        layout: What to read.

    Raises:
        InputError: If cells or rows are not as expected; among others, if a sequence has no name,
            or its times do not increase.
    """
    found = [_read(table, layout) for table in tables]
    ends = np.cumsum([columns.size for columns, _ in found])

    def row_place(row: int) -> str:
        index = int(np.searchsorted(ends, row, side="right"))
        columns, _ = found[index]
        return columns.place(row - int(ends[index]) + columns.size)

    if layout.sequence is None:
        codes = np.repeat(np.arange(len(found)), [columns.size for columns, _ in found])
        sequences = list(names)
    else:
        merged = _merged([columns.texts[layout.sequence] for columns, _ in found])
        codes, sequences = _by_appearance(merged)
        _refuse_nameless(codes, sequences, layout.sequence, row_place)
    lengths = np.bincount(codes, minlength=len(sequences))
    order = np.arange(len(codes))
    rows: NDArray[np.int64] | slice = slice(None)  # which copies nothing
    if (np.diff(codes) < 0).any():
        rows = order = np.argsort(codes, kind="stable")
    texts, values = None, None
    if layout.targets:
        if next(iter(layout.targets.values())).kind == "text":
            (name,) = layout.targets
            whole = _merged([targets.texts[name] for _, targets in found])
            texts = Texts(whole.codes[rows], whole.values)
        else:
            values = _stacked([targets for _, targets in found], [*layout.targets], rows)
    inputs = [columns for columns, _ in found]
    categories = np.empty((len(codes), len(layout.categories)), dtype=object)
    for i, name in enumerate(layout.categories):
        whole = _merged([columns.texts[name] for columns in inputs])
        categories[:, i] = np.array(whole.values, dtype=object)[whole.codes[rows]]
    times = None
    if layout.time is not None:
        times = _stacked(inputs, [layout.time], rows)[:, 0]
    steps = Steps(
        names=sequences,
        lengths=lengths,
        numbers=_stacked(inputs, layout.numbers, rows),
        categories=categories,
        times=times,
        texts=texts,
        values=values,
        order=order,
        place=lambda step: row_place(int(order[step])),
    )
    if times is not None:
        is_date = any(
            isinstance(value, datetime) or (isinstance(value, str) and "-" in value[1:])
            for value in (table.first.get(str(layout.time)) for table in tables)
        )
        _check_times(steps, times, str(layout.time), is_date)
    return steps


def _read(table: TableFile, layout: Layout) -> tuple[Columns, Columns]:
    """Returns the columns of a table, and its targets."""
    both = layout.columns.keys() & layout.targets.keys()
    if any(layout.columns[name].kind != layout.targets[name].kind for name in both):
        return table.read(layout.columns), table.read(layout.targets)
    columns = table.read({**layout.targets, **layout.columns})
    return columns, columns


def _stacked(
    tables: Sequence[Columns], names: Sequence[str], rows: NDArray[np.int64] | slice
) -> NDArray[np.float64]:
    """Returns columns of numbers side by side, (R, F)."""
    stacked = np.empty((sum(columns.size for columns in tables), len(names)))
    for i, name in enumerate(names):
        column = np.concatenate([columns.numbers[name] for columns in tables])
        stacked[:, i] = column[rows]
    return stacked


def _merged(columns: Sequence[Texts]) -> Texts:
    """Returns the texts of several tables as one column."""
    if len(columns) == 1:
        return columns[0]
    index: dict[str, int] = {}
    codes = []
    for column in columns:
        own = [index.setdefault(value, len(index)) for value in column.values]
        codes.append(np.array(own, dtype=np.int64)[column.codes])
    return Texts(np.concatenate(codes), [*index])


def _by_appearance(texts: Texts) -> tuple[NDArray[np.int64], list[str]]:
    """Returns the codes and texts in the order in which the texts appear, without unused ones."""
    highest = np.maximum.accumulate(texts.codes)
    if highest[0] == 0 and np.diff(highest).max(initial=0) <= 1:
        return texts.codes, texts.values[: highest[-1] + 1]
    used, first, codes = np.unique(texts.codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    return ranks[codes], [texts.values[code] for code in used[order]]


def _refuse_nameless(
    codes: NDArray[np.int64], names: Sequence[str], column: str, place: Callable[[int], str]
) -> None:
    faults = Faults()
    for code, name in enumerate(names):
        if not name.strip():
            for row in np.flatnonzero(codes == code).tolist():
                faults.add(
                    f"{place(row)}: expected the name of a sequence in column {column!r}, got "
                    f"{name!r}; fill it in, or delete the row"
                )
    faults.refuse()


def _check_times(steps: Steps, times: NDArray[np.float64], column: str, is_date: bool) -> None:
    """Raises InputError unless each step has a time after that of the step before."""
    # Not a number compares as False, so that missing times are found, too.
    later = np.diff(times, prepend=-np.inf) > 0
    later[steps.starts] = ~np.isnan(times[steps.starts])
    if later.all():
        return
    faults = Faults()
    ends = np.cumsum(steps.lengths)
    for step in np.flatnonzero(~later).tolist():
        if np.isnan(times[step]):
            faults.add(
                f"{steps.place(step)}: expected a time in column {column!r}, got none; fill it in, "
                "or delete the row"
            )
        elif not np.isnan(times[step - 1]):
            name = steps.names[int(np.searchsorted(ends, step, side="right"))]
            faults.add(
                f"{steps.place(step)}: expected a time after {_shown(times[step - 1], is_date)} in "
                f"the sequence {name!r}, got {_shown(times[step], is_date)}; sort the rows by "
                "time, and remove repeated ones"
            )
    faults.refuse()


def _shown(time: float, is_date: bool) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(" ") if is_date else f"{time:.15g}"


def one_per_sequence(
    steps: Steps, values: NDArray[np.float64], columns: Sequence[str], shown: Callable[[float], str]
) -> NDArray[np.float64]:
    """Returns the value that each sequence has in all of its rows.

    Args:
        steps: The steps.
        values: Values of the steps, (R, K); NaN where missing.
        columns: Names of the columns, K.
        shown: Returns a value as the table has it, for error messages.

    Returns:
        Values of the sequences, (N, K); NaN where it is missing in all rows of a sequence.

    Raises:
        InputError: If the rows of a sequence have different values.
    """
    rows = np.arange(len(values))[:, None]
    first = np.minimum.reduceat(np.where(np.isnan(values), len(values), rows), steps.starts, axis=0)
    padded = np.concatenate((values, np.full((1, values.shape[1]), np.nan)))
    found = np.take_along_axis(padded, first, axis=0)
    sequence = np.repeat(np.arange(len(steps.lengths)), steps.lengths)
    wrong = ~np.isnan(values) & (values != found[sequence])
    faults = Faults()
    steps_wrong, which = np.nonzero(wrong)
    _, one_each = np.unique(sequence[steps_wrong], return_index=True)
    for step, column in zip(steps_wrong[one_each], which[one_each], strict=True):
        index = sequence[step]
        faults.add(
            f"{steps.place(int(step))}: expected {shown(found[index, column])} in column "
            f"{columns[column]!r} as in the rows before of the sequence {steps.names[index]!r}, "
            f"got {shown(values[step, column])}; correct it, or set --data.corpus.per=step"
        )
    faults.refuse()
    return found
