"""The interface of corpora of labeled sentences."""

from typing import NamedTuple

from srulight.data.base import Corpus


class Example(NamedTuple):
    """A sentence and its class.

    Attributes:
        text: The sentence.
        label: Index of its class, 0 to the number of classes - 1.
    """

    text: str
    label: int


class Splits(NamedTuple):
    """The contents of a corpus.

    Attributes:
        train: Training examples.
        val: Validation examples.
        test: Test examples; empty if the corpus has none.
        labels: Names of the classes; the label of an example is an index into this list.
        is_tokenized: Whether the texts are split into words already, with spaces between them.
        column: Name of the text column of a table; None if the corpus is not a table.
    """

    train: list[Example]
    val: list[Example]
    test: list[Example]
    labels: list[str]
    is_tokenized: bool
    column: str | None = None


class SentenceCorpus(Corpus[Splits]):
    """A corpus of labeled sentences, which ``read`` returns as ``Splits``."""
