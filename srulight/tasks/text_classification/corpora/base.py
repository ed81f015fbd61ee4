"""The interface of corpora of labeled sentences."""

from typing import NamedTuple

from srulight.data.base import Corpus
from srulight.targets import Kind


class Example(NamedTuple):
    """A sentence and its target.

    Attributes:
        text: The sentence.
        label: Index of its class, 0 to the number of classes - 1, or -100 if it is missing; or one
            value per label (1 where it applies, otherwise 0) or number, NaN where it is missing.
    """

    text: str
    label: int | tuple[float, ...]


class Splits(NamedTuple):
    """The contents of a corpus.

    Attributes:
        train: Training examples.
        val: Validation examples.
        test: Test examples; empty if the corpus has none.
        labels: Names of the classes, labels or numbers; the class of an example is an index into
            this list.
        is_tokenized: Whether the texts are split into words already, with spaces between them.
        column: Name of the text column of a table; None if the corpus is not a table.
        targets: Names of the target columns of a table; empty if the corpus is not a table.
    """

    train: list[Example]
    val: list[Example]
    test: list[Example]
    labels: list[str]
    is_tokenized: bool
    column: str | None = None
    targets: tuple[str, ...] = ()


class SentenceCorpus(Corpus[Splits]):
    """A corpus of labeled sentences, which ``read`` returns as ``Splits``.

    Attributes:
        kind: Kind of the targets.
    """

    kind: Kind = "class"
