"""Videos that are decoded frame by frame: video files, folders of images, and arrays."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.errors import InputError

LARGEST_FRAME = 1 << 26
"""Largest number of pixels of a frame; 8K video has half as many."""

REPLACE = "replace the file, or leave it out"
"""What to do about a damaged file, as the last clause of the error message."""


class VideoSource(ABC):
    """A video whose frames have one size.

    Attributes:
        name: Name of the video for messages, such as its path.
        length: Number of frames, at least 1.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
    """

    name: str
    length: int
    height: int
    width: int

    @abstractmethod
    def key(self) -> Any:  # noqa: ANN401
        """Returns what identifies the contents of the video in the cache, as plain data.

        None means that the frames cost little, so that they are kept in memory instead.
        """

    @abstractmethod
    def frames(self, first: int = 0, length: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """Decodes frames in their order, a few at a time, so that memory stays small.

        Args:
            first: Index of the first frame.
            length: Number of frames; None for all that follow.

        Returns:
            The frames, (H, W, C) each, in RGB or gray: C is 3 or 1.

        Raises:
            InputError: If a frame cannot be decoded, or has another size.
        """

    def stop(self, first: int, length: int | None) -> int:
        """Returns the index after the last frame that ``frames`` decodes.

        Args:
            first: Index of the first frame.
            length: Number of frames; None for all that follow.

        Raises:
            ValueError: If the video does not have these frames.
        """
        stop = self.length if length is None else first + length
        if not 0 <= first <= stop <= self.length:
            raise ValueError(
                f"{self.name}: expected frames from 0 to {self.length}, got {first} to {stop}"
            )
        return stop


def check_frame_size(name: str, height: int, width: int) -> None:
    """Checks the size that a file declares, before anything of that size is allocated.

    Args:
        name: Name of the video.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.

    Raises:
        InputError: If there are no pixels, or too many.
    """
    if not 0 < height * width <= LARGEST_FRAME or height < 0:
        raise InputError(
            f"{name}: expected frames of 1 to {LARGEST_FRAME:,} pixels, got {width} x {height}; "
            f"{REPLACE}"
        )


def file_states(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Returns the path, size and modification time of files, which reveal changed ones.

    Args:
        paths: Paths of the files.

    Raises:
        InputError: If a file cannot be read.
    """
    states = []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        states.append((str(path.absolute()), status.st_size, status.st_mtime_ns))
    return states
