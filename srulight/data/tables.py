"""Sentences in tables: TSV, CSV or JSON lines."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from srulight.data.corpus import Corpus, Example, Splits
from srulight.data.files import hold_out, numbered_lines, read_text
from srulight.errors import InputError
from srulight.faults import Faults


class _Row(NamedTuple):
    place: str  # file:line
    text: str
    label: str


class Tables(Corpus):
    """Your own data: raw sentences and the names of their classes, in two columns.

    A name ending in ``.tsv`` or ``.csv`` is a table whose first row names the columns; one ending
    in ``.jsonl`` has one JSON object a line. All are UTF-8. The classes are the labels of the
    training file in alphabetical order.

    Args:
        train: Name of the training file, inside ``root``.
        val: Name of the validation file; if None, a fixed tenth of the training rows is held out.
        test: Name of the test file; if None, there is nothing to test on.
        text: Column of the sentence.
        label: Column of the label.
    """

    def __init__(
        self,
        train: str = "train.tsv",
        val: str | None = None,
        test: str | None = None,
        text: str = "text",
        label: str = "label",
    ) -> None:
        self.train = train
        self.val = val
        self.test = test
        self.text = text
        self.label = label

    def fetch(self, root: Path) -> None:
        """Does nothing: the files are the user's own."""

    def read(self, root: Path) -> Splits:
        rows = self._rows(root / self.train)
        labels = sorted({row.label for row in rows})
        train = _examples(rows, labels)
        if self.val is None:
            train, val = hold_out(train)
        else:
            val = _examples(self._rows(root / self.val), labels)
        test = [] if self.test is None else _examples(self._rows(root / self.test), labels)
        return Splits(train, val, test, labels, is_tokenized=False)

    def _rows(self, path: Path) -> list[_Row]:
        readers = {".tsv": _delimited, ".csv": _delimited, ".jsonl": _json_lines}
        if path.suffix not in readers:
            raise InputError(f"{path}: expected a name ending in {', '.join(readers)}")
        rows: list[_Row] = []
        faults = Faults()
        for place, row in readers[path.suffix](path, faults):
            try:
                rows.append(self._row(place, row))
            except InputError as error:
                # What the first row lacks, all others lack too.
                if not rows and not {self.text, self.label} <= row.keys():
                    raise
                faults.add(error)
        faults.refuse()
        if not rows:
            raise InputError(f"{path} has a header but no rows")
        return rows

    def _row(self, place: str, row: dict[str, object]) -> _Row:
        for column in (self.text, self.label):
            if column not in row:
                raise InputError(
                    f"{place}: no column {column!r}; there are {', '.join(row)}: "
                    "set --data.corpus.text and --data.corpus.label"
                )
            # Labels are often numbers in JSON.
            if not isinstance(row[column], str | int):
                raise InputError(f"{place}: {column!r} must be text, got {row[column]!r}")
        if not str(row[self.label]):
            raise InputError(f"{place}: the label is empty")
        return _Row(place, str(row[self.text]), str(row[self.label]))


def _examples(rows: list[_Row], labels: list[str]) -> list[Example]:
    indices = {label: i for i, label in enumerate(labels)}
    faults = Faults()
    for row in rows:
        if row.label not in indices:
            faults.add(
                f"{row.place}: label {row.label!r} is not in the training file, which has "
                f"{', '.join(labels)}"
            )
    faults.refuse()
    return [Example(row.text, indices[row.label]) for row in rows]


def _read(path: Path) -> str:
    return read_text(path, "utf-8", "set --data.root to its folder, or the corpus's file names")


def _delimited(path: Path, faults: Faults) -> Iterator[tuple[str, dict[str, object]]]:
    lines = io.StringIO(_read(path), newline="")
    # A quote in a TSV file is a quote: such files are written without escapes.
    if path.suffix == ".tsv":
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, strict=True)
    try:
        header = next(reader)
        # One name with such a sign in it is the names of several columns.
        if len(header) == 1 and (sign := next((s for s in "\t;|," if s in header[0]), None)):
            raise InputError(
                f"{path}:1: columns are separated by {sign!r}; expected tabs in a file whose name "
                "ends in .tsv, and commas in .csv"
            )
        for row in reader:
            place = f"{path}:{reader.line_num}"
            if not row:
                continue
            if len(row) != len(header):
                faults.add(f"{place}: expected {len(header)} columns, got {len(row)}")
                continue
            yield place, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: {error}") from error


def _json_lines(path: Path, faults: Faults) -> Iterator[tuple[str, dict[str, object]]]:
    for number, line in numbered_lines(_read(path)):
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            faults.add(f"{place}: not JSON: {error}")
            continue
        if not isinstance(row, dict):
            faults.add(f"{place}: expected a JSON object, got {line[:60]!r}")
            continue
        yield place, row
