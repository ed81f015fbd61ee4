"""Targets in the columns of tables."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srulight.data.base import IGNORED
from srulight.data.cells import as_number
from srulight.data.columns import Column, Columns, Texts
from srulight.runtime.errors import InputError, listed
from srulight.runtime.faults import Faults
from srulight.targets.base import Kind
from srulight.targets.cells import sorted_names


class TargetColumns:
    """The columns of the targets.

    Args:
        targets: Name of the only column, or a list of names. Several labels are either names in one
            column, or a list of columns that contain 0 or 1.
        kind: Kind of the targets.

    Raises:
        InputError: If there is no column, or several for one class.
    """

    def __init__(self, targets: list[str] | str, kind: Kind) -> None:
        self.columns = [targets] if isinstance(targets, str) else targets
        self.kind = kind
        self.has_names = kind == "class" or (kind == "labels" and isinstance(targets, str))
        if not self.columns or (kind == "class" and len(self.columns) > 1):
            wanted = "one column" if kind == "class" else "one or several columns"
            raise InputError(f"targets must be {wanted} if kind is {kind!r}, got {self.columns}")

    @property
    def wanted(self) -> dict[str, Column]:
        """What to read from the tables: text if ``has_names``, and numbers otherwise."""
        absent, missing = "correct --data.corpus.targets", "or leave the cell empty"
        if self.has_names:
            column = Column("text", absent)
        elif self.kind == "labels":
            column = Column("number", absent, f"write 0 or 1, {missing}")
        else:
            column = Column("number", absent, f"correct it, {missing}")
        return dict.fromkeys(self.columns, column)

    def names(self, tables: Iterable[tuple[Texts, Callable[[int], str]]], where: str) -> list[str]:
        """Returns the names of the classes or labels in columns of text.

        Args:
            tables: The column of each training table, and what returns the place of a row.
            where: Name of the training tables, for error messages.

        Raises:
            InputError: If there is no target, or the classes are numbers with fractions.
        """
        read = list(tables)
        column = self.columns[0]
        values = {
            name
            for texts, _ in read
            for code in np.unique(texts.codes).tolist()
            for name in self.split(texts.values[code])
        }
        names = sorted_names(values)
        if not names:
            rows = sum(len(texts.codes) for texts, _ in read)
            raise InputError(
                f"{where}: expected a target in column {column!r}, got none in all {rows:,} rows; "
                "fill it in, or correct --data.corpus.targets"
            )
        if self.kind == "labels" and {*names} <= {"0", "1"}:
            raise InputError(
                f"{where}: expected names of labels in column {column!r}, got "
                f"{' and '.join(names)}; write --data.corpus.targets='[{column}]' if it contains "
                "0 or 1"
            )
        numbers = [_number(name) for name in names]
        if self.kind == "class" and None not in numbers:
            for texts, place in read:
                for code in np.unique(texts.codes).tolist():
                    value = texts.values[code]
                    if (number := _number(value)) is not None and number % 1 > 0:
                        row = int((texts.codes == code).argmax())
                        raise InputError(
                            f"{place(row)}: expected the name of a class in column {column!r}, got "
                            f"{value!r}; set --data.corpus.kind=numbers to predict numbers"
                        )
        return names

    def by_value(
        self, texts: Texts, names: Sequence[str], place: Callable[[int], str]
    ) -> NDArray[Any]:
        """Returns the target that each text of a column stands for.

        Args:
            texts: The column.
            names: Names of the classes or labels.
            place: Returns the place of a row for messages.

        Returns:
            For each of ``texts.values``, a class, () int64, -100 where missing; or labels, (K,)
            float32, NaN where missing.

        Raises:
            InputError: If a class or label is not among the names.
        """
        column = self.columns[0]
        indices = {name: index for index, name in enumerate(names)}
        faults = Faults()
        found = []
        for code, value in enumerate(texts.values):
            found.append([indices.get(name, -1) for name in self.split(value)])
            if -1 in found[-1] and (texts.codes == code).any():
                unknown = next(name for name in self.split(value) if name not in indices)
                faults.add(
                    f"{place(int((texts.codes == code).argmax()))}: expected a target of the "
                    f"training data in column {column!r} ({listed(names)}), got {unknown!r}; "
                    "correct it, or add training data"
                )
        faults.refuse()
        if self.kind == "class":
            return np.array([own[0] if own else IGNORED for own in found])
        table = np.zeros((len(found), len(names)), dtype=np.float32)
        for code, own in enumerate(found):
            table[code, own] = 1
            if texts.values[code].strip().lower() == "nan":
                table[code] = math.nan
        return table

    def check_numbers(self, values: NDArray[np.float64], place: Callable[[int], str]) -> None:
        """Checks labels or numbers in several columns.

        Args:
            values: Values of the rows, (R, K); NaN where missing.
            place: Returns the place of a row for messages.

        Raises:
            InputError: If a label is neither 0 nor 1.
        """
        if self.kind != "labels":
            return
        faults = Faults()
        wrong = ~np.isnan(values) & (values != 0) & (values != 1)
        for row, column in np.argwhere(wrong).tolist():
            faults.add(
                f"{place(row)}: expected 0 or 1 in column {self.columns[column]!r}, got "
                f"{values[row, column]:g}; correct it, or set --data.corpus.kind=numbers"
            )
        faults.refuse()

    def split(self, value: str) -> list[str]:
        """Returns the class or the labels in a cell.

        Args:
            value: Text of the cell.
        """
        if value.strip().lower() == "nan":
            return []
        values = value.split(";") if self.kind == "labels" else [value]
        return [name.strip() for name in values if name.strip()]


class TargetRows:
    """The targets in some rows of a table.

    Args:
        columns: The columns of the targets.
        table: What was read from the table.
        rows: Indices of the rows, (N,).
    """

    def __init__(self, columns: TargetColumns, table: Columns, rows: NDArray[np.int64]) -> None:
        self._columns = columns
        self._table = table
        self._rows = rows

    @property
    def texts(self) -> Texts:
        """The column of names in these rows."""
        texts = self._table.texts[self._columns.columns[0]]
        return Texts(texts.codes[self._rows], texts.values)

    @property
    def place(self) -> Callable[[int], str]:
        """Returns the place of one of these rows for messages."""
        return lambda row: self._table.place(int(self._rows[row]))

    def encoded(self, names: Sequence[str]) -> NDArray[Any]:
        """Returns the targets, (N,) int64 or (N, K) float32.

        Args:
            names: Names of the classes, labels or numbers.

        Raises:
            InputError: If a class or label is not among the names, or a label is neither 0 nor 1.
        """
        if self._columns.has_names:
            texts = self.texts
            return self._columns.by_value(texts, names, self.place)[texts.codes]
        columns = [self._table.numbers[name][self._rows] for name in self._columns.columns]
        values = np.stack(columns, axis=1)
        self._columns.check_numbers(values, self.place)
        return values.astype(np.float32)


def _number(text: str) -> float | None:
    """Returns the number that a text contains, if it contains one."""
    try:
        number = as_number(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
