"""Reads targets of sequences, or of their steps, from the columns of tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srulight.targets import Kind
from srulight.targets.columns import TargetColumns
from srulight.tasks.sequence_prediction.corpora.base import Per
from srulight.tasks.sequence_prediction.corpora.table_steps import Steps, one_per_sequence


class TableTargets:
    """The targets of sequences, or of their steps, in the columns of tables.

    Args:
        targets: Names of the columns, as ``TargetColumns`` takes them.
        kind: Kind of the targets.
        per: Whether each sequence has a target, or each of its steps.

    Raises:
        InputError: If there is no column, or several for one class.

    Attributes:
        table: The columns.
    """

    def __init__(self, targets: list[str] | str, kind: Kind, per: Per) -> None:
        self.table = TargetColumns(targets, kind)
        self.per = per

    def names(self, steps: Steps, where: str) -> list[str]:
        """Returns the names of the classes, labels or numbers.

        Args:
            steps: The training data.
            where: Name of the training tables, for error messages.

        Raises:
            InputError: If there is no target, or the classes are numbers with fractions.
        """
        if steps.texts is None:
            return self.table.columns
        return self.table.names([(steps.texts, steps.place)], where)

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

    def _values(self, steps: Steps) -> NDArray[np.float32]:
        """Returns the labels or numbers in several columns."""
        assert steps.values is not None
        values = steps.values
        self.table.check_numbers(values, steps.place)
        if self.per == "sequence":
            columns = self.table.columns
            values = one_per_sequence(steps, values, columns, lambda value: f"{value:g}")
        return values.astype(np.float32)

    def _codes(self, steps: Steps, names: Sequence[str]) -> NDArray[Any]:
        """Returns the classes, or the labels, from a column of names."""
        assert steps.texts is not None
        texts = steps.texts
        targets = self.table.by_value(texts, names, steps.place)
        codes = texts.codes
        if self.per == "sequence":
            blank = [code for code, text in enumerate(texts.values) if not self.table.split(text)]
            known = np.where(np.isin(codes, blank), np.nan, codes)[:, None]
            one = one_per_sequence(
                steps, known, self.table.columns, lambda code: repr(texts.values[int(code)])
            )[:, 0]
            codes = np.where(np.isnan(one), codes[steps.starts], one).astype(np.int64)
        return targets[codes]
