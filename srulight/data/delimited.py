"""Checks whether a table in CSV or TSV is plain enough for a lenient, fast parser."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srulight.runtime.files import GZIP

_BLOCK = 1 << 20  # bytes, few enough for the cache of a processor


class OddTableError(Exception):
    """A table must be read row by row."""


def check_text(path: Path) -> bool:
    """Checks that pyarrow reads the same cells from a table as ``table_rows`` does.

    pyarrow is more lenient: it takes text after closing quotes, lone carriage returns, and bytes
    that are not UTF-8.

    Args:
        path: Path of a ``.csv`` or ``.tsv`` file.

    Returns:
        Whether there are quotes in the file.

    Raises:
        OddTableError: If it might read other cells.
    """
    commas = path.suffix == ".csv"
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_quoted, is_inside = False, False
    for block in _blocks(path):
        if block.startswith(GZIP):
            raise OddTableError
        if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
            raise OddTableError
        try:
            block.isascii() or decoder.decode(block)
        except UnicodeDecodeError as error:
            raise OddTableError from error
        if commas and b'"' in block:
            is_quoted = True
            is_inside = _check_quotes(block, is_inside)
        if not commas and re.search(rb"^[\s\x1c-\x1f]+$", block, re.MULTILINE):
            raise OddTableError  # such lines are blank, not cells
    if is_inside:
        raise OddTableError
    return is_quoted


def _blocks(path: Path) -> Iterator[bytes]:
    """Yields whole lines of a file, many at a time, without a byte order mark."""
    with path.open("rb") as file:
        first = file.read(3)
        rest = b"" if first == codecs.BOM_UTF8 else first
        while block := rest + file.read(_BLOCK):
            yield block + file.readline()
            rest = b""


def _check_quotes(block: bytes, is_inside: bool) -> bool:
    """Raises OddTableError unless quotes enclose whole cells, or are doubled in such cells.

    Args:
        block: Whole lines.
        is_inside: Whether the block begins within quotes.

    Returns:
        Whether the block ends within quotes.
    """
    signs = np.frombuffer(b"\n" + block + b"\n", dtype=np.uint8)
    places = np.flatnonzero(signs == ord('"'))
    opens = (np.arange(len(places)) % 2 == 0) ^ is_inside
    before, after = signs[places - 1], signs[places + 1]
    allowed = np.where(
        opens, np.isin(before, [*b',\n"']), np.isin(after, [*b',\r\n"'])
    )  # a quote beside a quote is one of two
    if not allowed.all():
        raise OddTableError
    return bool(len(places) % 2) ^ is_inside
