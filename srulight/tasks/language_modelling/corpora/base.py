"""What a corpus of running text gives."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from srulight.data.base import Corpus
from srulight.runtime.errors import InputError
from srulight.runtime.files import LONGEST_LINE

_BLOCK = 1 << 22  # Bytes read at a time.


class Span(NamedTuple):
    """Part of a file.

    Attributes:
        path: The file.
        start: Its first byte.
        stop: One after its last byte.
    """

    path: Path
    start: int
    stop: int

    def blocks(self) -> Iterator[bytes]:
        """Reads the part in pieces of some megabytes.

        A piece ends with a line, or with a space where a line is longer than that.

        Raises:
            InputError: If there is neither for too long.
        """
        with self.path.open("rb") as file:
            file.seek(self.start)
            left, rest = self.stop - self.start, b""
            while left > 0:
                block = file.read(min(_BLOCK, left))
                if not block:
                    break
                left -= len(block)
                end = (block.rfind(b"\n") + 1) or (block.rfind(b" ") + 1)
                if end:
                    yield rest + block[:end]
                    rest = b""
                rest += block[end:]
                if len(rest) > LONGEST_LINE:
                    raise InputError(
                        f"{self.path}: expected text with spaces or line ends, got "
                        f"{LONGEST_LINE >> 20} MB without any"
                    )
            if rest:
                yield rest


class Spans(NamedTuple):
    """The three parts of a corpus.

    Attributes:
        train: Text to learn from.
        val: Text to choose a model by.
        test: Text to report; None where the corpus has none.
    """

    train: Span
    val: Span
    test: Span | None


class TextCorpus(Corpus[Spans]):
    """Knows where the text of a corpus lies."""
