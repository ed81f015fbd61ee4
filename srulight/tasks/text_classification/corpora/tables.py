"""Tables of labeled sentences: TSV, CSV or JSON Lines."""

from pathlib import Path
from typing import NamedTuple

from srulight.data.hold_out import hold_out
from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.records import TABLES, table_rows, text_cell
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus, Splits

_REMEDY = "set --data.root to its folder, or correct the file name in --data.corpus"


class _Row(NamedTuple):
    place: str  # file:line
    text: str
    label: str


class Tables(SentenceCorpus):
    """Your own data: tables with a column of sentences and a column of labels.

    The files are encoded in UTF-8. The first row of a ``.tsv`` or ``.csv`` file names the columns;
    a ``.jsonl`` file contains one JSON object per line. The classes are the labels of the training
    file in alphabetical order.

    Args:
        train: Name of the training file in ``root``.
        val: Name of the validation file; if None, a fixed tenth of the training rows is held out.
        test: Name of the test file; if None, the corpus has no test set.
        text: Name of the column with the sentences.
        label: Name of the column with the labels.
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

    def read(self, root: Path) -> Splits:
        rows = self._rows(root / self.train)
        labels = sorted({row.label for row in rows})
        train = _examples(rows, labels)
        if self.val is None:
            train, val = hold_out(train)
        else:
            val = _examples(self._rows(root / self.val), labels)
        test = [] if self.test is None else _examples(self._rows(root / self.test), labels)
        return Splits(train, val, test, labels, is_tokenized=False, column=self.text)

    def _rows(self, path: Path) -> list[_Row]:
        if path.suffix not in TABLES:
            raise InputError(
                f"{path}: expected a name ending in {', '.join(TABLES)}; rename or convert the file"
            )
        rows: list[_Row] = []
        faults = Faults()
        for number, row in table_rows(path, _REMEDY, faults):
            try:
                rows.append(self._row(f"{path}:{number}", row))
            except InputError as error:
                # A column that is missing in the first row is missing in all rows.
                if not rows and not {self.text, self.label} <= row.keys():
                    raise
                faults.add(error)
        faults.refuse()
        if not rows:
            raise InputError(f"{path}: expected rows below the header, got none")
        return rows

    def _row(self, place: str, row: dict[str, object]) -> _Row:
        remedy = "set --data.corpus.text and --data.corpus.label"
        text, label = (text_cell(row, c, place, remedy) for c in (self.text, self.label))
        if not label:
            raise InputError(
                f"{place}: expected a label in column {self.label!r}, got ''; fill it in, or "
                "delete the row"
            )
        return _Row(place, text, label)


def _examples(rows: list[_Row], labels: list[str]) -> list[Example]:
    indices = {label: i for i, label in enumerate(labels)}
    faults = Faults()
    for row in rows:
        if row.label not in indices:
            faults.add(
                f"{row.place}: expected a label of the training file ({', '.join(labels)}), got "
                f"{row.label!r}"
            )
    faults.refuse()
    return [Example(row.text, indices[row.label]) for row in rows]
