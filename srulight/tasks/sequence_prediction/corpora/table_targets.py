"""Reads targets from the columns of tables."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srulight.data.base import IGNORED
from srulight.data.cells import as_number
from srulight.data.columns import Column
from srulight.runtime.errors import InputError, listed
from srulight.runtime.faults import Faults
from srulight.targets import Kind
from srulight.targets.cells import sorted_names
from srulight.tasks.sequence_prediction.corpora.base import Per
from srulight.tasks.sequence_prediction.corpora.table_steps import Steps, one_per_sequence


class TargetColumns:
    """The columns of the targets.

    Args:
        targets: Name of the only column, or a list of names. Several labels are either names in one
            column, or a list of columns that contain 0 or 1.
        kind: Kind of the targets.
        per: Whether each sequence has a target, or each of its steps.

    Raises:
        InputError: If there is no column, a column twice, or several for one class.
    """

    def __init__(self, targets: list[str] | str, kind: Kind, per: Per) -> None:
        self.columns = [targets] if isinstance(targets, str) else targets
        self.kind = kind
        self.per = per
        self.has_names = kind == "class" or (kind == "labels" and isinstance(targets, str))
        if not self.columns or (kind == "class" and len(self.columns) > 1):
            wanted = "one column" if kind == "class" else "one or several columns"
            raise InputError(f"targets must be {wanted} if kind is {kind!r}, got {self.columns}")

    @property
    def wanted(self) -> dict[str, Column]:
        """What to read from the tables."""
        absent, missing = "correct --data.corpus.targets", "or leave the cell empty"
        if self.has_names:
            column = Column("text", absent)
        elif self.kind == "labels":
            column = Column("number", absent, f"write 0 or 1, {missing}")
        else:
            column = Column("number", absent, f"correct it, {missing}")
        return dict.fromkeys(self.columns, column)

    def names(self, steps: Steps, where: str) -> list[str]:
        """Returns the names of the classes, labels or numbers.

        Args:
            steps: The training data.
            where: Name of the training tables, for error messages.

        Raises:
            InputError: If there is no target, or the classes are numbers with fractions.
        """
        if steps.texts is None:
            return self.columns
        column = self.columns[0]
        names = sorted_names({name for value in steps.texts.values for name in self._split(value)})
        if not names:
            raise InputError(
                f"{where}: expected a target in column {column!r}, got none in all "
                f"{len(steps.order):,} rows; fill it in, or correct --data.corpus.targets"
            )
        if self.kind == "labels" and {*names} <= {"0", "1"}:
            raise InputError(
                f"{where}: expected names of labels in column {column!r}, got "
                f"{' and '.join(names)}; write --data.corpus.targets='[{column}]' if it contains "
                "0 or 1"
            )
        numbers = [_number(name) for name in names]
        if self.kind == "class" and None not in numbers:
            for code, value in enumerate(steps.texts.values):
                if (number := _number(value)) is not None and number % 1 > 0:
                    step = int((steps.texts.codes == code).argmax())
                    raise InputError(
                        f"{steps.place(step)}: expected the name of a class in column {column!r}, "
                        f"got {value!r}; set --data.corpus.kind=numbers to predict numbers"
                    )
        return names

    def encode(self, steps: Steps, names: Sequence[str]) -> NDArray[Any]:
        """Returns the targets as ``Part`` has them.

        Args:
            steps: The steps.
            names: Names of the classes, labels or numbers.

        Raises:
            InputError: If a class or label is not among the names, a label is neither 0 nor 1, or
                the rows of a sequence have different targets.
        """
        return self._values(steps) if steps.texts is None else self._codes(steps, names)

    def _split(self, value: str) -> list[str]:
        """Returns the class or the labels in a cell."""
        if value.strip().lower() == "nan":
            return []
        values = value.split(";") if self.kind == "labels" else [value]
        return [name.strip() for name in values if name.strip()]

    def _values(self, steps: Steps) -> NDArray[np.float32]:
        """Returns the labels or numbers in several columns."""
        assert steps.values is not None
        values = steps.values
        if self.kind == "labels":
            faults = Faults()
            wrong = ~np.isnan(values) & (values != 0) & (values != 1)
            for step, column in np.argwhere(wrong).tolist():
                faults.add(
                    f"{steps.place(step)}: expected 0 or 1 in column {self.columns[column]!r}, got "
                    f"{values[step, column]:g}; correct it, or set --data.corpus.kind=numbers"
                )
            faults.refuse()
        if self.per == "sequence":
            values = one_per_sequence(steps, values, self.columns, lambda value: f"{value:g}")
        return values.astype(np.float32)

    def _codes(self, steps: Steps, names: Sequence[str]) -> NDArray[Any]:
        """Returns the classes, or the labels, from a column of names."""
        assert steps.texts is not None
        texts = steps.texts
        column = self.columns[0]
        indices = {name: index for index, name in enumerate(names)}
        faults = Faults()
        found = []
        for code, value in enumerate(texts.values):
            found.append([indices.get(name, -1) for name in self._split(value)])
            if -1 in found[-1] and (texts.codes == code).any():
                unknown = next(name for name in self._split(value) if name not in indices)
                faults.add(
                    f"{steps.place(int((texts.codes == code).argmax()))}: expected a target of the "
                    f"training data in column {column!r} ({listed(names)}), got {unknown!r}; "
                    "correct it, or add training data"
                )
        faults.refuse()
        codes = texts.codes
        if self.per == "sequence":
            blank = [code for code, own in enumerate(found) if not own]
            known = np.where(np.isin(codes, blank), np.nan, codes)[:, None]
            one = one_per_sequence(
                steps, known, [column], lambda code: repr(texts.values[int(code)])
            )[:, 0]
            codes = np.where(np.isnan(one), codes[steps.starts], one).astype(np.int64)
        if self.kind == "class":
            return np.array([own[0] if own else IGNORED for own in found])[codes]
        table = np.zeros((len(found), len(names)), dtype=np.float32)
        for code, own in enumerate(found):
            table[code, own] = 1
            if texts.values[code].strip().lower() == "nan":
                table[code] = math.nan
        return table[codes]


def _number(text: str) -> float | None:
    """Returns the number that a text contains, if it contains one."""
    try:
        number = as_number(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
