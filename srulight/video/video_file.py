"""Video files, which PyAV decodes."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.cache import cache_key, cached_json
from srulight.runtime.errors import InputError
from srulight.runtime.files import file_checksum
from srulight.video.sources import (
    LARGEST_FRAME,
    REPLACE,
    VideoSource,
    check_frame_size,
    file_states,
)
from srulight.video.truncation import is_cut_off

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

VIDEO_FILES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".gif", ".mpg", ".mpeg", ".wmv", ".flv",
    ".ogv", ".3gp",
)  # fmt: skip
"""File extensions of videos."""

_VERSION = 1  # Version of the cached summaries; raise it when their content changes.
_KEYS = 25  # Smallest distance of two key frames that are remembered.
_OPTIONS = {
    # A playlist, or a list of other files, could name files and addresses that FFmpeg would open.
    "format_whitelist": "mov,avi,matroska,gif,mpeg,mpegvideo,asf,flv,ogg",
    "protocol_whitelist": "file",
    "max_pixels": str(LARGEST_FRAME),
}


class _Summary(NamedTuple):
    """What decoding a video once has shown.

    Attributes:
        sha256: Checksum of the file.
        length: Number of frames.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
        color: Whether the frames have colors.
        keys: Index and time stamp of some key frames, from which decoding can start.
    """

    sha256: str
    length: int
    height: int
    width: int
    color: bool
    keys: list[tuple[int, int]]


class VideoFile(VideoSource):
    """A video file. It is decoded once to count its frames, because its header may be wrong.

    The count is kept in the cache until the file changes. Metadata that tell a player to rotate
    frames have no effect.

    Args:
        path: Path of the file.

    Raises:
        InputError: If PyAV is not installed, or the file is not a video that it can decode.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        if not path.is_file():  # Opening a pipe would wait forever.
            raise InputError(f"{path.name} is not in {path.parent.absolute()}")
        key = cache_key(_VERSION, "file", file_states([path]))
        summary = _Summary(*cached_json("videos", key, lambda: _summarize(path)))
        self._sha256 = summary.sha256
        self.length = summary.length
        self.height = summary.height
        self.width = summary.width
        self._color = summary.color
        self._keys = summary.keys

    def key(self) -> Any:  # noqa: ANN401
        return self._sha256

    def frames(self, first: int = 0, length: int | None = None) -> Iterator[NDArray[np.uint8]]:
        stop = self.stop(first, length)
        index = 0
        # Frames convert themselves, too, but each would set the conversion up again.
        converter = _imported().video.reformatter.VideoReformatter()
        wanted = "rgb24" if self._color else "gray"
        for index, frame in self._from_key(first):
            if index >= stop:
                return
            _check_frame(self.name, index, frame, self.height, self.width)
            if index >= first:
                pixels = converter.reformat(frame, format=wanted).to_ndarray()
                yield pixels.reshape(self.height, self.width, -1)
        if index + 1 < stop:
            raise InputError(
                f"{self.name}: expected {self.length:,} frames, got {index + 1:,}: the file "
                "changed while srulight read it; start again"
            )

    def _from_key(self, first: int) -> Iterator[tuple[int, "VideoFrame"]]:
        """Decodes from a key frame at or before the first wanted frame, or from the start."""
        index, stamp = max((key for key in self._keys if key[0] <= first), default=(0, 0))
        if index:
            frames = _decoded(self._path, stamp)
            found = next((frame for frame in frames if (frame.pts or 0) >= stamp), None)
            if found is not None and found.pts == stamp:
                yield index, found
                yield from enumerate(frames, index + 1)
                return
        yield from enumerate(_decoded(self._path))


def _summarize(path: Path) -> _Summary:
    size: tuple[int, int] | None = None
    color, length, last = True, 0, None
    keys: list[tuple[int, int]] = []
    ordered = True
    for frame in _decoded(path):
        if size is None:
            size = (frame.height, frame.width)
            check_frame_size(str(path), *size)
            color = not frame.format.name.startswith(("gray", "mono"))
        _check_frame(str(path), length, frame, *size)
        stamp = frame.pts
        ordered = ordered and stamp is not None and (last is None or stamp > last)
        if stamp is not None and frame.key_frame and (not keys or length >= keys[-1][0] + _KEYS):
            keys.append((length, stamp))
        last = stamp
        length += 1
    if size is None:
        raise InputError(f"{path}: expected a video, got a file without frames; {REPLACE}")
    # Without increasing time stamps, no frame can be found by its own.
    return _Summary(file_checksum(path), length, *size, color, keys if ordered else [])


def _check_frame(name: str, index: int, frame: "VideoFrame", height: int, width: int) -> None:
    if (frame.height, frame.width) != (height, width):
        raise InputError(
            f"{name}, frame {index}: expected frames of {width} x {height} pixels as before, got "
            f"{frame.width} x {frame.height}; convert the video to one size"
        )
    if frame.is_corrupt:
        raise InputError(
            f"{name}, frame {index}: expected a complete frame, got a damaged one; {REPLACE}"
        )


def _decoded(path: Path, stamp: int | None = None) -> Iterator["VideoFrame"]:
    """Decodes a file from its start, or from the key frame at or before a time stamp."""
    av = _imported()
    index = 0
    try:
        # Without the scheme, FFmpeg would take some names of files for addresses.
        with av.open(
            f"file:{path.absolute()}", "r", options=_OPTIONS, metadata_errors="replace"
        ) as file:
            stream = _video_stream(path, file)
            if stamp is not None:
                file.seek(stamp, stream=stream)
            for packet in file.demux(stream):
                if packet.is_corrupt and packet.size:
                    raise InputError(
                        f"{path}, frame {index}: expected a complete frame, got the end of a "
                        f"truncated file; {REPLACE}"
                    )
                for frame in packet.decode():
                    yield frame
                    index += 1
    except (av.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        place = f"{path}, frame {index}" if index else str(path)
        raise InputError(
            f"{place}: expected a video that PyAV can decode, got: {reason}; {REPLACE}"
        ) from error


def _video_stream(path: Path, file: "InputContainer") -> "VideoStream":
    """Returns the first video stream, after checks that cost no decoding."""
    if not file.streams.video:
        kinds = " and ".join(sorted({stream.type for stream in file.streams})) or "nothing"
        raise InputError(f"{path}: expected a video, got {kinds} alone; {REPLACE}")
    stream = file.streams.video[0]
    context = stream.codec_context
    if context is None:  # whatever the annotation of PyAV says
        raise InputError(
            f"{path}: expected a video that PyAV can decode, got an unknown codec; convert the "
            "video, or leave it out"
        )
    check_frame_size(str(path), context.height, context.width)
    size = path.stat().st_size
    beyond = any(entry.pos + entry.size > size for entry in stream.index_entries)
    if beyond or is_cut_off(path):
        raise InputError(
            f"{path}: expected a complete video, got a truncated file of {size:,} bytes; {REPLACE}"
        )
    context.thread_type = "AUTO"
    return stream


def _imported() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise InputError(
            'reading video files needs PyAV; install it: pip install "srulight[video]"'
        ) from error
    return av
