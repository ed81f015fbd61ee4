"""The one way to read files of text, whoever asks: UTF-8 whatever the locale, and bounded."""

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from srulight.runtime.errors import InputError

LONGEST_LINE = 1 << 26
"""Bytes of the longest line that is read."""

LARGEST_TEXT = 1 << 31
"""Bytes of the largest text that is read as a whole."""

STANDARD_INPUT = "-"

GZIP = b"\x1f\x8b"
"""How files begin that gzip made."""

_MARK = b"\xef\xbb\xbf"  # byte order
_OTHERS = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"\xfd7zXZ": "compressed by xz: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it",
    b"BZh91AY&SY": "compressed by bzip2: unpack it",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
}


@contextmanager
def opened(source: Path | str, remedy: str = "") -> Iterator[io.BufferedIOBase]:
    """Opens a file of text, a pipe, or "-" for standard input; what gzip made is unpacked.

    Args:
        source: What to read. A Path is always a file.
        remedy: What to do when the file is missing, to end the sentence of the error.

    Yields:
        Its bytes.

    Raises:
        InputError: If it is missing, a folder or a device, no text by its first bytes, or cannot be
            read to its end.
    """
    path = Path(source)
    try:
        with _stream(source) as file:
            head = _head(file, source)
            if head.startswith(GZIP) or path.suffix == ".gz":
                with gzip.open(file) as unpacked:
                    yield cast("io.BufferedIOBase", unpacked)
            else:
                yield file
    except FileNotFoundError as error:
        after = f"; {remedy}" if remedy else ""
        raise InputError(f"{path.name} is not in {path.parent.absolute()}{after}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{_name(source)} is damaged or not gzip ({error}); fetch or compress it again"
        ) from error
    except OSError as error:
        raise InputError(f"{_name(source)} cannot be read: {error.strerror}") from error


def _name(source: Path | str) -> str:
    return "standard input" if source == STANDARD_INPUT else str(source)


def _stream(source: Path | str) -> io.BufferedReader:
    if source == STANDARD_INPUT:
        # Python has none if it was closed before.
        return open(sys.stdin.fileno() if sys.stdin else 0, "rb", closefd=False)
    return Path(source).open("rb")


def _head(file: io.BufferedReader, source: Path | str) -> bytes:
    """Gives the first bytes; raises InputError where they cannot be those of a text."""
    mode = os.fstat(file.fileno()).st_mode
    if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and not file.isatty():
        raise InputError(f"{_name(source)} is a device; expected a file of text")
    head = file.peek(16)[:16]
    for start, kind in _OTHERS.items():
        if head.startswith(start):
            raise InputError(f"{_name(source)} is {kind}")
    return head


def raw_lines(source: Path | str, remedy: str = "") -> Iterator[tuple[int, bytes]]:
    r"""Numbers the lines of a file from 1; a line ends with ``\n`` or ``\r\n`` and nothing else.

    Args:
        source: As for :func:`opened`.
        remedy: As for :func:`opened`.

    Yields:
        The number of each line, and its bytes without its end or a byte order mark.

    Raises:
        InputError: As :func:`opened`, or if a line is endless.
    """
    with opened(source, remedy) as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 2):
            number += 1
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            if len(line) > LONGEST_LINE:
                raise InputError(
                    f"{_name(source)}:{number}: expected lines of at most {LONGEST_LINE >> 20} MB, "
                    "got a longer one"
                )
            yield number, line.removeprefix(_MARK) if number == 1 else line


def lines(
    source: Path | str, remedy: str = "", encoding: str = "utf-8"
) -> Iterator[tuple[int, str]]:
    """Gives the lines of :func:`raw_lines` as text.

    Args:
        source: As for :func:`opened`.
        remedy: As for :func:`opened`.
        encoding: How characters are stored, as Python names it; one that extends ASCII.

    Raises:
        InputError: As :func:`raw_lines`, or if the text is stored in another way.
    """
    _check(encoding)
    for number, line in raw_lines(source, remedy):
        yield number, _decoded(line, encoding, source, number)


def filled_lines(
    source: Path | str, remedy: str = "", encoding: str = "utf-8"
) -> Iterator[tuple[int, str]]:
    """Gives those of :func:`lines` that hold more than white space.

    Args:
        source: As for :func:`opened`.
        remedy: As for :func:`opened`.
        encoding: As for :func:`lines`.

    Raises:
        InputError: As :func:`lines`, or if there are none.
    """
    is_empty = True
    for number, line in lines(source, remedy, encoding):
        if line.strip():
            is_empty = False
            yield number, line
    if is_empty:
        raise InputError(f"{_name(source)} is empty")


def read_text(source: Path | str, remedy: str = "") -> str:
    """Reads a whole text, character for character; only a byte order mark is dropped.

    Args:
        source: As for :func:`opened`.
        remedy: As for :func:`opened`.

    Raises:
        InputError: As :func:`opened`, or if the text is not UTF-8, endless, or holds nothing but
            white space.
    """
    with opened(source, remedy) as file:
        data = file.read(LARGEST_TEXT + 1)
    if len(data) > LARGEST_TEXT:
        raise InputError(
            f"{_name(source)}: expected a text of at most {LARGEST_TEXT >> 30} GB, got more"
        )
    text = _decoded(data.removeprefix(_MARK), "utf-8", source, 1)
    if not text.strip():
        raise InputError(f"{_name(source)} is empty")
    return text


def well_formed(text: str) -> str:
    """Puts U+FFFD in the place of half a character, which JSON and arguments can bring.

    Args:
        text: Any text; its length stays the same.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= sign <= "\udfff" else sign for sign in text)
    return text


def _check(encoding: str) -> None:
    try:
        # Lines are split before they are decoded.
        extends_ascii = b"0 a\n".decode(encoding, "replace") == "0 a\n"
    except LookupError:
        extends_ascii = False
    if not extends_ascii:
        raise InputError(
            "encoding must be one that Python knows and that extends ASCII, such as utf-8 or "
            f"latin-1; got {encoding!r}"
        )


def _decoded(data: bytes, encoding: str, source: Path | str, first: int) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = first + data.count(b"\n", 0, error.start)
        raise InputError(
            f"{_name(source)}:{line}: byte {data[error.start]:#04x} is not {encoding.upper()}; "
            "save the file as UTF-8, or set the encoding if its corpus has one (often latin-1)"
        ) from error
