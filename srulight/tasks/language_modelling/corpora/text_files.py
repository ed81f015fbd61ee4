"""Text files."""

from pathlib import Path

from srulight.data.download import Source, download
from srulight.runtime.errors import InputError
from srulight.tasks.language_modelling.corpora.base import Span, Spans, TextCorpus

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
