"""The interface of corpora of running text."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from srulight.data.base import Corpus
from srulight.runtime.errors import InputError
from srulight.runtime.files import LONGEST_LINE

_BLOCK = 1 << 22  # Number of bytes to read at a time.


class Span(NamedTuple):
    """A part of a file.

    Attributes:
        path: The file.
        start: Offset of the first byte.
        stop: Offset of the byte after the last one.
    """

    path: Path
    start: int
    stop: int

    def blocks(self) -> Iterator[bytes]:
        """Reads the part in pieces of a few megabytes.

        Each piece ends at the end of a line, or at a space if the line is longer than a piece.

        Raises:
            InputError: If the text has neither spaces nor line ends for too long.
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
                        f"{LONGEST_LINE >> 20} MB without any; insert line ends, or set "
                        "--data.tokenizer=Bytes"
                    )
            if rest:
                yield rest


class Spans(NamedTuple):
    """The three parts of a corpus.

    Attributes:
        train: Training text.
        val: Validation text.
        test: Test text; None if the corpus has none.
    """

    train: Span
    val: Span
    test: Span | None


class TextCorpus(Corpus[Spans]):
    """A corpus of running text; ``read`` returns the parts of the files that contain the text."""
