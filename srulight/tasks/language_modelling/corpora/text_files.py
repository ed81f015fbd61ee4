"""Running text: where it lies."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from srulight.data.base import Corpus
from srulight.data.download import Source, download
from srulight.data.grammar import GrammarSizes, draw
from srulight.runtime.atomic_io import written
from srulight.runtime.cache import cache_folder
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.files import LONGEST_LINE

_BLOCK = 1 << 22  # Bytes read at a time.

_SOURCES = {
    "tinyshakespeare.txt": Source(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    )
}
_WHERE = {
    "enwik8": "mattmahoney.net/dc/textdata.html",
    "ptb.train.txt": "the Penn Treebank as Mikolov prepared it",
    "wiki.train.tokens": "WikiText of Merity et al. (2016)",
}


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


class TextFiles(TextCorpus):
    """Plain text files, UTF-8, or any bytes for a model of bytes.

    Args:
        train: Name of the training file, inside ``root``.
        val: Name of the validation file; None takes it from the end of ``train``.
        test: Name of the test file; None takes it from the end of ``train``, if ``test_bytes``.
        val_bytes: Where ``val`` is None: bytes that validation takes from ``train``, before those
            of the test.
        test_bytes: Where ``test`` is None: bytes that the test takes from the end of ``train``.
    """

    def __init__(
        self,
        train: str = "train.txt",
        val: str | None = None,
        test: str | None = None,
        val_bytes: int = 0,
        test_bytes: int = 0,
    ) -> None:
        if val is None and val_bytes < 1:
            raise InputError("validation text is needed: give val a file, or val_bytes a number")
        if min(val_bytes, test_bytes) < 0 or (val and val_bytes) or (test and test_bytes):
            raise InputError(
                "val_bytes and test_bytes are 0 or more, and 0 where val or test is a file; got "
                f"{val_bytes} and {test_bytes}"
            )
        self.train = train
        self.val = val
        self.test = test
        self.val_bytes = val_bytes
        self.test_bytes = test_bytes

    def fetch(self, root: Path) -> None:
        for name in filter(None, (self.train, self.val, self.test)):
            if (root / name).exists():
                continue
            if name not in _SOURCES:
                where = _WHERE.get(self.train, "wherever it is kept")
                raise InputError(
                    f"{name} cannot be downloaded, for want of a checksum to hold it against: "
                    f"fetch it by hand ({where}), put it in {root.absolute()} and unset "
                    "--data.download"
                )
            download(_SOURCES[name], root / name)

    def read(self, root: Path) -> Spans:
        train = _whole(root / self.train)
        test = _whole(root / self.test) if self.test else None
        val = _whole(root / self.val) if self.val else None
        if self.test_bytes:
            train, test = _cut(train, self.test_bytes)
        if val is None:
            train, val = _cut(train, self.val_bytes)
        return Spans(train, val, test)


class GrammarText(TextCorpus):
    """Sentences of the small grammar inside the package, one a line: needs no files.

    Args:
        train_size: Training sentences.
        val_size: Validation sentences.
        test_size: Test sentences.
        seed: Number that decides which sentences are made.
    """

    def __init__(
        self, train_size: int = 6000, val_size: int = 600, test_size: int = 600, seed: int = 0
    ) -> None:
        check_range(1, train_size=train_size, val_size=val_size, test_size=test_size)
        self.sizes = GrammarSizes(train_size, val_size, test_size, seed)

    def read(self, root: Path) -> Spans:
        folder = cache_folder() / "grammar"
        spans = []
        for name, sentences in zip(("train", "val", "test"), draw(self.sizes), strict=True):
            path = folder / f"{name}-{'-'.join(map(str, self.sizes))}.txt"
            text = "".join(f"{sentence.text}\n" for sentence in sentences).encode()
            if not path.is_file() or path.read_bytes() != text:
                with written(path) as part:
                    part.write_bytes(text)
            spans.append(_whole(path))
        return Spans(*spans)


def _whole(path: Path) -> Span:
    if not path.is_file():
        hint = "; set --data.download=true to fetch it" if path.name in _SOURCES else ""
        raise InputError(f"{path.name} is not in {path.parent.absolute()}{hint}")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path} is empty")
    return Span(path, 0, size)


def _cut(span: Span, size: int) -> tuple[Span, Span]:
    """Takes some bytes from the end; no character is cut in two."""
    place = span.stop - size
    if place <= span.start:
        raise InputError(
            f"{span.path} has {span.stop - span.start} bytes, and {size} were to be held out"
        )
    with span.path.open("rb") as file:
        file.seek(place)
        # Bytes 10xxxxxx go on with a character of UTF-8, which has four bytes at most.
        head = file.read(3)
    while head and head[0] & 0xC0 == 0x80:
        place, head = place + 1, head[1:]
    return span._replace(stop=place), span._replace(start=place)
