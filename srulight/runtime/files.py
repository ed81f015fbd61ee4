"""Reads text files, the same way everywhere: as UTF-8 in any locale, and with limits on size."""

import gzip
import hashlib
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
"""Maximum length of a line, in bytes."""

LARGEST_TEXT = 1 << 31
"""Maximum size of a text that is read as a whole, in bytes."""

STANDARD_INPUT = "-"

GZIP = b"\x1f\x8b"
"""First bytes of a gzip file."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHERS = {
    b"PK\x03\x04": "a zip archive; unpack it",
    b"\xfd7zXZ": "an xz file; decompress it",
    b"\x28\xb5\x2f\xfd": "a zstd file; decompress it",
    b"BZh91AY&SY": "a bzip2 file; decompress it",
    b"\xff\xfe": "UTF-16; save the file as UTF-8",
    b"\xfe\xff": "UTF-16; save the file as UTF-8",
}


@contextmanager
def opened(source: Path | str, remedy: str = "") -> Iterator[io.BufferedIOBase]:
    """Opens a text file, a pipe or standard input, and decompresses gzip on the fly.

    Args:
        source: Path of the file, or the string "-" for standard input. A Path is always a file.
        remedy: What to do if the file is missing, as the last clause of the error message.

    Yields:
        A binary stream of the contents.

    Raises:
        InputError: If the file is missing, is a folder or a device, starts with bytes of another
            format, or cannot be read to the end.
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
            f"{name_of(source)} is damaged or not gzip-compressed ({error}); download or compress "
            "it again"
        ) from error
    except OSError as error:
        raise InputError(f"{name_of(source)} cannot be read: {error.strerror}") from error


def name_of(source: Path | str) -> str:
    """Returns the name of a source in messages: its path, or "standard input" for "-"."""
    return "standard input" if source == STANDARD_INPUT else str(source)


def _stream(source: Path | str) -> io.BufferedReader:
    if source == STANDARD_INPUT:
        # sys.stdin is None if standard input was closed before Python started.
        return open(sys.stdin.fileno() if sys.stdin else 0, "rb", closefd=False)
    return Path(source).open("rb")


def _head(file: io.BufferedReader, source: Path | str) -> bytes:
    """Returns the first bytes; raises InputError if they cannot belong to a text."""
    mode = os.fstat(file.fileno()).st_mode
    if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and not file.isatty():
        raise InputError(f"{name_of(source)} is a device; expected a text file")
    head = file.peek(16)[:16]
    for start, kind in _OTHERS.items():
        if head.startswith(start):
            raise InputError(f"{name_of(source)}: expected UTF-8 text, got {kind}")
    return head


def raw_lines(source: Path | str, remedy: str = "") -> Iterator[tuple[int, bytes]]:
    r"""Reads a file line by line; only ``\n`` and ``\r\n`` end a line.

    Args:
        source: As for ``opened``.
        remedy: As for ``opened``.

    Yields:
        The number of each line, from 1, and its bytes without the line ending and the byte order
        mark.

    Raises:
        InputError: As for ``opened``, or if a line is longer than 64 MB.
    """
    with opened(source, remedy) as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 2):
            number += 1
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            if len(line) > LONGEST_LINE:
                raise InputError(
                    f"{name_of(source)}:{number}: expected a line of at most {LONGEST_LINE >> 20} "
                    "MB, got a longer one"
                )
            yield number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line


def lines(
    source: Path | str, remedy: str = "", encoding: str = "utf-8"
) -> Iterator[tuple[int, str]]:
    """Reads a file line by line, and decodes each line.

    Args:
        source: As for ``opened``.
        remedy: As for ``opened``.
        encoding: Character encoding, by its name in Python. It must extend ASCII.

    Yields:
        The number of each line, from 1, and its text.

    Raises:
        InputError: As for ``raw_lines``, or if the text has another encoding.
    """
    _check(encoding)
    for number, line in raw_lines(source, remedy):
        yield number, _decoded(line, encoding, source, number)


def filled_lines(
    source: Path | str, remedy: str = "", encoding: str = "utf-8"
) -> Iterator[tuple[int, str]]:
    """Reads the lines of a file that are not blank.

    Args:
        source: As for ``opened``.
        remedy: As for ``opened``.
        encoding: As for ``lines``.

    Yields:
        The number of each line, from 1, and its text.

    Raises:
        InputError: As for ``lines``, or if all lines are blank.
    """
    is_empty = True
    for number, line in lines(source, remedy, encoding):
        if line.strip():
            is_empty = False
            yield number, line
    if is_empty:
        raise InputError(f"{name_of(source)} is empty")


def read_text(source: Path | str, remedy: str = "") -> str:
    """Reads a whole text unchanged, except that a byte order mark is dropped.

    Args:
        source: As for ``opened``.
        remedy: As for ``opened``.

    Raises:
        InputError: As for ``opened``, or if the text is not UTF-8, is larger than 2 GB, or is
            blank.
    """
    with opened(source, remedy) as file:
        data = file.read(LARGEST_TEXT + 1)
    if len(data) > LARGEST_TEXT:
        raise InputError(
            f"{name_of(source)}: expected at most {LARGEST_TEXT >> 30} GB of text, got more"
        )
    text = _decoded(data.removeprefix(_BYTE_ORDER_MARK), "utf-8", source, 1)
    if not text.strip():
        raise InputError(f"{name_of(source)} is empty")
    return text


def file_checksum(path: Path, remedy: str = "") -> str:
    """Computes the SHA-256 checksum of a file.

    Args:
        path: Path of the file.
        remedy: What to do if the file is missing, as the last clause of the error message.

    Raises:
        InputError: If the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        after = f"; {remedy}" if remedy else ""
        raise InputError(f"{path.name} is not in {path.parent.absolute()}{after}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def well_formed(text: str) -> str:
    """Replaces lone surrogates, which JSON and command-line arguments can contain, by U+FFFD.

    Args:
        text: Any text.

    Returns:
        Text of the same length.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    return text


def _check(encoding: str) -> None:
    try:
        # Line endings must be ASCII, because lines are split before they are decoded.
        extends_ascii = b"0 a\n".decode(encoding, "replace") == "0 a\n"
    except LookupError:
        extends_ascii = False
    if not extends_ascii:
        raise InputError(
            "encoding must be a Python encoding that extends ASCII, such as 'utf-8' or 'latin-1', "
            f"got {encoding!r}"
        )


def _decoded(data: bytes, encoding: str, source: Path | str, first: int) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = first + data.count(b"\n", 0, error.start)
        raise InputError(
            f"{name_of(source)}:{line}: byte {data[error.start]:#04x} is not {encoding.upper()}; "
            "save the file as UTF-8, or set the encoding of the corpus if it has that option "
            "(often latin-1)"
        ) from error
