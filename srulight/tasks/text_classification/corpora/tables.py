"""Tables of sentences with targets: TSV, CSV, JSON Lines, Parquet or saved by Hugging Face."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from srulight.data.base import IGNORED
from srulight.data.hold_out import hold_out
from srulight.runtime.errors import InputError, listed
from srulight.runtime.faults import Faults
from srulight.runtime.records import TABLES, is_table, table_rows, text_cell
from srulight.targets import Kind
from srulight.targets.cells import flag, is_missing, number
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus, Splits

_REMEDY = "set --data.root to its folder, or correct the file name in --data.corpus"
_MOST_GRADES = 20  # classes that may be numbers with fractions, such as half stars


class _Row(NamedTuple):
    place: str  # file:line
    text: str
    names: tuple[str, ...] | None  # classes or labels; None if missing
    values: tuple[float, ...]  # one per column of labels or numbers


class Tables(SentenceCorpus):
    """Your own data: tables with a column of sentences, and one or several columns of targets.

    The files are encoded in UTF-8. The first row of a ``.tsv`` or ``.csv`` file names the columns;
    a ``.jsonl`` file contains one JSON object per line. A ``.parquet`` file, and a folder that
    Hugging Face's ``datasets`` has saved to disk, require pyarrow. The classes are the labels of
    the training file in alphabetical order. Sentences without a target, whose cell is empty, count
    neither in the loss nor in the metrics.

    Args:
        train: Name of the training file in ``root``.
        val: Name of the validation file; if None, a fixed tenth of the training rows is held out.
        test: Name of the test file; if None, the corpus has no test set.
        text: Name of the column with the sentences.
        label: Name of the column with the targets, or a list of several columns. Several labels are
            either names in one column, separated by semicolons or as a list, or a list of columns
            that contain 0 or 1.
        kind: What the column contains: "class" (one class per sentence), "labels" (several labels
            at once) or "numbers".
    """

    def __init__(
        self,
        train: str = "train.tsv",
        val: str | None = None,
        test: str | None = None,
        text: str = "text",
        label: list[str] | str = "label",
        kind: Kind = "class",
    ) -> None:
        if kind == "class" and not isinstance(label, str):
            raise InputError(
                f"label must be one column if kind is 'class', got {label!r}; set "
                "--data.corpus.kind=labels or --data.corpus.kind=numbers"
            )
        if not label or (len(set(label)) < len(label) and not isinstance(label, str)):
            raise InputError(f"label must name one or several different columns, got {label!r}")
        self.train = train
        self.val = val
        self.test = test
        self.text = text
        self.kind = kind
        self.columns = [label] if isinstance(label, str) else label
        self._has_names = kind == "class" or (kind == "labels" and isinstance(label, str))

    def read(self, root: Path) -> Splits:
        rows = self._rows(root / self.train)
        labels = self.columns
        if self._has_names:
            labels = sorted({name for row in rows for name in row.names or ()})
            self._check_names(rows, labels)
        train = self._examples(rows, labels)
        if self.val is None:
            train, val = hold_out(train)
        else:
            val = self._examples(self._rows(root / self.val), labels)
        test = [] if self.test is None else self._examples(self._rows(root / self.test), labels)
        return Splits(train, val, test, labels, False, self.text, tuple(self.columns))

    def _rows(self, path: Path) -> list[_Row]:
        if not is_table(path):
            raise InputError(
                f"{path}: expected a name ending in {', '.join(TABLES)}, or a folder that datasets "
                "has saved; rename or convert the file"
            )
        rows: list[_Row] = []
        faults = Faults()
        for number_, row in table_rows(path, _REMEDY, faults):
            try:
                rows.append(self._row(f"{path}:{number_}", row))
            except InputError as error:
                # A column that is missing in the first row is missing in all rows.
                if not rows and not {self.text, *self.columns} <= row.keys():
                    raise
                faults.add(error)
        faults.refuse()
        if not rows:
            raise InputError(f"{path}: expected rows below the header, got none")
        return rows

    def _row(self, place: str, row: dict[str, Any]) -> _Row:
        remedy = "set --data.corpus.text and --data.corpus.label"
        text = text_cell(row, self.text, place, remedy)
        for column in self.columns:
            if column not in row:
                text_cell(row, column, place, remedy)
        cells = [row[column] for column in self.columns]
        if self.kind == "class":
            return _Row(place, text, _class(cells[0], self.columns[0], place), ())
        if self._has_names:
            return _Row(place, text, _names(cells[0], self.columns[0], place), ())
        read = number if self.kind == "numbers" else flag
        values = (read(cell, name, place) for cell, name in zip(cells, self.columns, strict=True))
        return _Row(place, text, None, tuple(values))

    def _check_names(self, rows: list[_Row], labels: list[str]) -> None:
        """Refuses training files without any label, and numbers in place of classes."""
        if not labels:
            raise InputError(
                f"{self.train}: expected a label in column {self.columns[0]!r} of at least one "
                f"row, got none in all {len(rows):,}; fill it in, or set --data.corpus.label"
            )
        if self.kind != "class" or len(labels) <= _MOST_GRADES or not all(map(_is_number, labels)):
            return
        for row in rows:
            if row.names and float(row.names[0]) % 1 > 0:
                raise InputError(
                    f"{row.place}: expected the name of a class in column {self.columns[0]!r}, got "
                    f"{row.names[0]!r}, one of {len(labels):,} different numbers; set "
                    "--data.corpus.kind=numbers, or round them"
                )

    def _examples(self, rows: list[_Row], labels: Sequence[str]) -> list[Example]:
        indices = {label: i for i, label in enumerate(labels)}
        faults = Faults()
        for row in rows:
            for name in row.names or ():
                if name not in indices:
                    faults.add(
                        f"{row.place}: expected a label of the training file "
                        f"({listed(labels, 10)}), got {name!r}"
                    )
        faults.refuse()
        return [Example(row.text, self._target(row, indices)) for row in rows]

    def _target(self, row: _Row, indices: dict[str, int]) -> int | tuple[float, ...]:
        if self.kind == "class":
            return indices[row.names[0]] if row.names else IGNORED
        if not self._has_names:
            return row.values
        if row.names is None:
            return (math.nan,) * len(indices)
        return tuple(float(label in row.names) for label in indices)


def _class(cell: Any, column: str, place: str) -> tuple[str] | None:  # noqa: ANN401
    if is_missing(cell):
        return None
    if isinstance(cell, float):  # whole numbers with missing ones become floats in many programs
        return (str(int(cell)) if cell.is_integer() else str(cell),)
    return (text_cell({column: cell}, column, place, ""),)


def _names(cell: Any, column: str, place: str) -> tuple[str, ...] | None:  # noqa: ANN401
    """Returns the labels in a cell. A blank text means that no label applies, unlike null."""
    if isinstance(cell, str):
        return tuple(name.strip() for name in cell.split(";") if name.strip())
    if is_missing(cell):
        return None
    if isinstance(cell, list) and all(isinstance(name, str | int) for name in cell):
        return tuple(map(str, cell))
    raise InputError(
        f"{place}: expected names of labels in column {column!r}, separated by semicolons or as a "
        f"list, got {json.dumps(cell, default=str):.60}"
    )


def _is_number(label: str) -> bool:
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False
