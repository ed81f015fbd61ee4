"""Detects truncated and unfinished audio files, which libsndfile reports only in its log."""

import mmap
import re
from types import ModuleType
from typing import Any, BinaryIO

from srulight.runtime.errors import InputError

# The log compares the stated size of the sample data with the size of the file. libsndfile limits
# the log to 2 kB, which is enough unless a file has many text chunks before its samples.
_SHORT = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_NO_END = re.compile(r"^Ogg ?: (?:File ended|Last page lacks|Junk after).*", re.MULTILINE)
_UNFINISHED = re.compile(r"^RIFF(?s:.*)^data : 0\n(?s:.*)^(?:\*\*\* Unknown|Have 0) ", re.MULTILINE)
_COUNT = re.compile(rb"sample_count -i (\d+)\s")  # NIST SPHERE: not compared in the log
# Programs that write to a pipe do not know the size, and state this (sox) or more.
_UNKNOWN_SIZE = 0x7F000000


def open_sound(soundfile: ModuleType, file: BinaryIO) -> Any:  # noqa: ANN401
    """Opens an audio file, and refuses it if it is truncated.

    A WAV file that its recorder did not finish is opened with the samples that it has.

    Args:
        soundfile: The module ``soundfile``.
        file: The file, opened for reading without a buffer because libsndfile shares its file
            descriptor. The file is not modified.

    Returns:
        A ``soundfile.SoundFile``.

    Raises:
        InputError: If the file is shorter than its header states.
        LibsndfileError: If the file is not audio.
    """
    head = file.read(1024)
    file.seek(0)
    sound = soundfile.SoundFile(file.fileno(), closefd=False)
    log = sound.extra_info
    # A recorder writes the size when it stops; if it is killed, the size remains 0.
    if not sound.frames and _UNFINISHED.search(log):
        # Copy on write: the change stays in the memory of this process. libsndfile recognizes an
        # unfinished file by a size of 8.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        mapped[4:8] = (8).to_bytes(4, "little")
        return soundfile.SoundFile(mapped)
    short, no_end = _SHORT.search(log), _NO_END.search(log)
    count = _COUNT.search(head) if sound.format == "NIST" else None
    if short and int(short[1]) < _UNKNOWN_SIZE:
        raise InputError(
            f"{file.name}: expected {int(short[1]):,} bytes of samples, got {int(short[2]):,}: "
            "the file is truncated"
        )
    if no_end:
        raise InputError(
            f"{file.name}: expected the end of an OGG stream, got {no_end[0]!r}: the file is "
            "truncated or damaged"
        )
    if count and int(count[1]) > sound.frames:
        raise InputError(
            f"{file.name}: expected {int(count[1]):,} samples, got {sound.frames:,}: the file is "
            "truncated"
        )
    return sound
