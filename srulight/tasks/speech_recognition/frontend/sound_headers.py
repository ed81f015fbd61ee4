"""What the headers of files of sound promise, and what they leave open."""

import io
import math
import mmap
import os
import re
import struct
from typing import BinaryIO

# Files of chunks, by their first bytes: how chunks begin, and the name of the one with the samples.
_CHUNKED = {b"RIFF": ("<4sI", b"data"), b"RIFX": (">4sI", b"data"), b"FORM": (">4sI", b"SSND")}
# Programs that write to a pipe do not know the size: they write this (sox) or more.
_UNKNOWN_SIZE = 0x7F000000
_OGG_PAGE = 27 + 255 + 255 * 255  # the longest: head, table, body


def is_cut(file: BinaryIO) -> bool:
    """Says whether a file of sound is shorter than it promises.

    Args:
        file: The file; where it is read next changes.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(4096)
    if head.startswith(b"OggS"):
        file.seek(max(0, size - _OGG_PAGE))
        return _ogg_is_cut(file.read(_OGG_PAGE))
    return size < (_nist_end(head) if head.startswith(b"NIST_1A") else _chunk_end(file, head[:4]))


def _ogg_is_cut(tail: bytes) -> bool:
    """Says whether the last page is not whole or not marked as the last (RFC 3533, section 6)."""
    page = tail[tail.rfind(b"OggS\0") :]
    if len(page) < 27 or not page[5] & 4:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _nist_end(head: bytes) -> int:
    """Finds the byte at which the samples should end; 0 if the header does not say."""
    start = re.match(rb"NIST_1A\s+(\d+)\s", head)
    if start is None or b"embedded" in head:  # compressed
        return 0
    fields = {key: int(value) for key, value in re.findall(rb"(?m)^(\w+) -(?:i|s\d+) (\d+)", head)}
    sizes = (b"sample_count", b"channel_count", b"sample_n_bytes")
    return int(start[1]) + math.prod(fields.get(key, 0) for key in sizes)


def _chunk_end(file: BinaryIO, magic: bytes) -> int:
    """Finds the byte at which the samples should end; 0 if the header does not say."""
    start, size = _samples(file, magic)
    return start + size if 0 < size < _UNKNOWN_SIZE else 0


def _samples(file: BinaryIO, magic: bytes) -> tuple[int, int]:
    """Finds the byte at which the samples begin, and how many bytes they say to have; or 0, 0."""
    layout, wanted = _CHUNKED.get(magic, ("<4sI", b""))
    file.seek(12)
    while wanted and len(start := file.read(8)) == 8:
        name, size = struct.unpack(layout, start)
        if name == wanted:
            return file.tell(), size
        file.seek(size + size % 2, io.SEEK_CUR)
    return 0, 0


def finished(file: BinaryIO) -> mmap.mmap | int:
    """Gives what libsndfile reads: a file, or a WAV that says to have no samples with their size.

    A recorder writes the size when it stops, if it is not ended before that.

    Args:
        file: The file, unbuffered; it stays as it is.
    """
    file.seek(0)
    magic = file.read(4)
    start, size = _samples(file, magic)
    end = file.seek(0, io.SEEK_END)
    if magic not in (b"RIFF", b"RIFX") or not start or size or _are_chunks(file, magic, start):
        file.seek(0)
        return file.fileno()
    layout = _CHUNKED[magic][0][0] + "I"
    # A copy of the pages that change, in this process alone.
    mapped = _Mapped(file.fileno(), 0, access=mmap.ACCESS_COPY)
    most = (1 << 32) - 1
    struct.pack_into(layout, mapped, 4, min(end - 8, most))
    struct.pack_into(layout, mapped, start - 4, min(end - start, most))
    return mapped


class _Mapped(mmap.mmap):
    """A file in memory that can be looked for beyond its end, as libsndfile does with files."""

    def seek(self, position: int, whence: int = os.SEEK_SET) -> None:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: len(self)}[whence]
        super().seek(min(base + position, len(self)))


def _are_chunks(file: BinaryIO, magic: bytes, start: int) -> bool:
    """Says whether there are only whole chunks from a byte on, such as texts: and no samples."""
    end = file.seek(0, io.SEEK_END)
    file.seek(start)
    while file.tell() < end:
        name, size = struct.unpack(_CHUNKED[magic][0], file.read(8).ljust(8, b"\0"))
        if not (name.isascii() and name.decode().isprintable()):
            return False
        file.seek(size + size % 2, io.SEEK_CUR)
    return True
