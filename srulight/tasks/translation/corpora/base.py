"""What a parallel corpus is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from srulight.data.base import Corpus


class Pair(NamedTuple):
    """A sentence and its translation.

    Attributes:
        source: The sentence; may be empty.
        target: What it is translated to; may be empty.
        where: What an error calls it: the file of the source and the line.
    """

    source: str
    target: str
    where: str


class Pairs(ABC):
    """Sentence pairs, maybe very many: read anew each time, and never all in memory."""

    @abstractmethod
    def __iter__(self) -> Iterator[Pair]:
        """Reads the pairs, always in the same order.

        Raises:
            InputError: If a file is not what it should be; maybe after the last pair only.
        """

    @property
    @abstractmethod
    def key(self) -> str:
        """SHA-256 of all that the pairs come from, in hexadecimal, which names caches.

        Reads everything.

        Raises:
            InputError: If a file cannot be read.
        """


class ParallelSplits(NamedTuple):
    """Everything that a parallel corpus holds.

    Attributes:
        train: Pairs to learn from.
        val: Pairs to choose a model by.
        test: Pairs to report; None where the corpus has none.
    """

    train: Pairs
    val: Pairs
    test: Pairs | None


class ParallelCorpus(Corpus[ParallelSplits]):
    """Knows where sentences and their translations are; the pairs themselves are read later.

    Attributes:
        languages: Of the sentences and of their translations, as in ISO 639-1: ``("en", "de")``.
    """

    languages: tuple[str, str]
