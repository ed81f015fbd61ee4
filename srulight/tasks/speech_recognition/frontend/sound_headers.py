"""Files of sound that were cut or not finished, of which libsndfile only says so in its log."""

import mmap
import re
from types import ModuleType
from typing import Any, BinaryIO

from srulight.runtime.errors import InputError

# Of the samples, the log says how many bytes there should be by the length of the file. It is 2 kB
# long, which only many lines of text before the samples would fill.
_SHORT = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_NO_END = re.compile(r"^Ogg ?: (?:File ended|Last page lacks|Junk after).*", re.MULTILINE)
_UNFINISHED = re.compile(r"^RIFF(?s:.*)^data : 0\n(?s:.*)^(?:\*\*\* Unknown|Have 0) ", re.MULTILINE)
_COUNT = re.compile(rb"sample_count -i (\d+)\s")  # of NIST SPHERE, which is not compared
# Programs that write to a pipe do not know the size: they write this (sox) or more.
_UNKNOWN_SIZE = 0x7F000000


def open_sound(soundfile: ModuleType, file: BinaryIO) -> Any:  # noqa: ANN401
    """Opens a file as a ``soundfile.SoundFile``; a WAV that was not finished with what it has.

    Args:
        soundfile: The package.
        file: The file, unbuffered since libsndfile reads from the same place; it stays as it is.

    Raises:
        InputError: If the file is shorter than it promises.
        LibsndfileError: If it is not audio.
    """
    head = file.read(1024)
    file.seek(0)
    sound = soundfile.SoundFile(file.fileno(), closefd=False)
    log = sound.extra_info
    # A recorder writes the size when it stops, if it is not ended before that.
    if not sound.frames and _UNFINISHED.search(log):
        # A copy of the pages that change, in this process alone.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        mapped[4:8] = (8).to_bytes(4, "little")  # what libsndfile knows such a file by
        return soundfile.SoundFile(mapped)
    short, no_end = _SHORT.search(log), _NO_END.search(log)
    count = _COUNT.search(head) if sound.format == "NIST" else None
    if short and int(short[1]) < _UNKNOWN_SIZE:
        raise InputError(f"{file.name} is truncated: it has {short[2]} of {short[1]} bytes")
    if no_end:
        raise InputError(f"{file.name} is truncated or damaged: {no_end[0]}")
    if count and int(count[1]) > sound.frames:
        raise InputError(
            f"{file.name} is truncated: it has {sound.frames} of {int(count[1])} samples"
        )
    return sound
