"""Finds out whether the end of a video file is missing."""

from pathlib import Path
from typing import IO

_EBML = b"\x1a\x45\xdf\xa3"  # first bytes of Matroska and WebM
_SEGMENT = b"\x18\x53\x80\x67"
_PIECE = 256  # Number of bytes in which the end of a GIF file is looked for.


def is_cut_off(path: Path) -> bool:
    """Returns whether a file is shorter than it says; FFmpeg reads such files without an error.

    Args:
        path: Path of an AVI, Matroska, WebM or GIF file; other files never count as cut off.

    Raises:
        OSError: If the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            return int.from_bytes(head[4:8], "little") + 8 > size
        if head[:6] in (b"GIF87a", b"GIF89a"):
            file.seek(max(0, size - _PIECE))
            # Some programs fill the last block of the file with zeros.
            return not file.read().rstrip(b"\0").endswith(b";")
        if head[:4] == _EBML:
            file.seek(4)
            return _segment_end(file) > size
    return False


def _segment_end(file: IO[bytes]) -> int:
    """Returns where the segment of a Matroska file ends; 0 if the file does not say so."""
    length = _length(file)
    if length is None:
        return 0
    file.seek(length, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _length(file)
    return 0 if length is None else file.tell() + length


def _length(file: IO[bytes]) -> int | None:
    """Reads the length of an element (RFC 8794, section 6); None if it is unknown or too long."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    count = 8 - first[0].bit_length()  # bytes that follow
    value = first[0] & (1 << (7 - count)) - 1
    value = value << 8 * count | int.from_bytes(file.read(count), "big")
    unknown = (1 << 7 * (count + 1)) - 1
    return None if value == unknown else value
