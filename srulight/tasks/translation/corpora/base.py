"""The interface of parallel corpora."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from srulight.data.base import Corpus


class Pair(NamedTuple):
    """A sentence and its translation.

    Attributes:
        source: Source sentence; may be empty.
        target: Translation; may be empty.
        where: Source file and line, for error messages.
    """

    source: str
    target: str
    where: str


class Pairs(ABC):
    """A re-iterable stream of sentence pairs, which need not fit into memory."""

    @abstractmethod
    def __iter__(self) -> Iterator[Pair]:
        """Reads the pairs, always in the same order.

        Raises:
            InputError: If a file is invalid. Some errors are found only after the last pair.
        """

    @property
    @abstractmethod
    def key(self) -> str:
        """Hexadecimal SHA-256 of the data behind the pairs, which identifies them in caches.

        Computing it reads all files.

        Raises:
            InputError: If a file cannot be read.
        """


class ParallelSplits(NamedTuple):
    """The splits of a parallel corpus.

    Attributes:
        train: Training pairs.
        val: Validation pairs.
        test: Test pairs; None if the corpus has none.
    """

    train: Pairs
    val: Pairs
    test: Pairs | None


class ParallelCorpus(Corpus[ParallelSplits]):
    """A corpus of sentences and their translations, read lazily.

    Attributes:
        languages: Source and target language as ISO 639-1 codes, such as ``("en", "de")``.
    """

    languages: tuple[str, str]
