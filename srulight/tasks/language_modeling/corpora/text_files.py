"""Corpora in text files."""

from pathlib import Path

from srulight.data.download import Source, download
from srulight.runtime.errors import InputError
from srulight.tasks.language_modeling.corpora.base import Span, Spans, TextCorpus

_SOURCES = {
    "tinyshakespeare.txt": Source(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    )
}
_WHERE = {
    "enwik8": "mattmahoney.net/dc/textdata.html",
    "ptb.train.txt": "the Penn Treebank as prepared by Mikolov",
    "wiki.train.tokens": "WikiText by Merity et al. (2016)",
}


class TextFiles(TextCorpus):
    """Plain text files in UTF-8, or files of any format for a model of bytes.

    Args:
        train: Name of the training file in ``root``.
        val: Name of the validation file; if None, ``val_bytes`` of the training file are held out.
        test: Name of the test file; if None, ``test_bytes`` of the training file are held out.
        val_bytes: Number of bytes of the training file to hold out for validation, just before
            those of the test. Required if ``val`` is None.
        test_bytes: Number of bytes at the end of the training file to hold out for the test; 0 for
            no test.

    Raises:
        InputError: If there is no validation text, or both a file and a number of bytes are set.
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
            raise InputError(
                "the corpus has no validation text; set --data.corpus.val=FILE or "
                "--data.corpus.val_bytes=NUMBER"
            )
        if min(val_bytes, test_bytes) < 0 or (val and val_bytes) or (test and test_bytes):
            raise InputError(
                "val_bytes and test_bytes must be at least 0, and 0 if val or test is set, got "
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
                where = f" ({_WHERE[self.train]})" if self.train in _WHERE else ""
                raise InputError(
                    f"{name} cannot be downloaded, because its checksum is not known; get it by "
                    f"hand{where}, put it in {root.absolute()} and remove --data.download"
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


def _whole(path: Path) -> Span:
    if not path.is_file():
        download = ", or --data.download=true" if path.name in _SOURCES else ""
        raise InputError(
            f"{path.name} is not in {path.parent.absolute()}; set --data.root to its folder"
            f"{download}"
        )
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path}: expected text, got an empty file")
    return Span(path, 0, size)


def _cut(span: Span, size: int) -> tuple[Span, Span]:
    """Takes some bytes from the end, without dividing a character."""
    place = span.stop - size
    if place <= span.start:
        raise InputError(
            f"{span.path}: expected more than the {size} bytes to hold out, got "
            f"{span.stop - span.start}; lower --data.corpus.val_bytes or --data.corpus.test_bytes"
        )
    with span.path.open("rb") as file:
        file.seek(place)
        # In UTF-8, bytes 10xxxxxx continue a character, which has at most four bytes.
        head = file.read(3)
    while head and head[0] & 0xC0 == 0x80:
        place, head = place + 1, head[1:]
    return span._replace(stop=place), span._replace(start=place)
