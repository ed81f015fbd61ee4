"""What a corpus of labelled sentences is."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple


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


class Corpus(ABC):
    """Knows where the files of a corpus are and how they read."""

    @abstractmethod
    def fetch(self, root: Path) -> None:
        """Downloads whatever of the corpus is not there yet, and checks it.

        Args:
            root: Folder of the files; made if missing.

        Raises:
            InputError: If something cannot be had this way.
        """

    @abstractmethod
    def read(self, root: Path) -> Splits:
        """Reads the whole corpus.

        Args:
            root: Folder of the files.

        Raises:
            InputError: If a file is missing or is not what it should be.
        """
