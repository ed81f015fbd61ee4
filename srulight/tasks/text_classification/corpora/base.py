"""What a corpus of labelled sentences is."""

from typing import NamedTuple

from srulight.data.base import Corpus


class Example(NamedTuple):
    """One sentence and its class.

    Attributes:
        text: The sentence.
        label: Its class, 0 to the number of classes - 1.
    """

    text: str
    label: int


class Splits(NamedTuple):
    """Everything that a corpus holds.

    Attributes:
        train: Examples to learn from.
        val: Examples to choose a model by.
        test: Examples to report; empty where the corpus has none.
        labels: Names of the classes; an example's label is an index into them.
        is_tokenized: The texts are words with white space between them, to be split nowhere else.
        column: Column of tables that the texts are in; None where they are in no tables.
    """

    train: list[Example]
    val: list[Example]
    test: list[Example]
    labels: list[str]
    is_tokenized: bool
    column: str | None = None


class SentenceCorpus(Corpus[Splits]):
    """Knows where labelled sentences are."""
