"""Divides a long video into blocks of time."""

from typing import Any

from numpy.typing import NDArray

from srulight.runtime.errors import InputError
from srulight.video.corpus import Clip
from srulight.video.sources import VideoSource

_CYCLE = ("train", "test", "train", "val", "train")


def divided(video: VideoSource, size: int, targets: NDArray[Any]) -> dict[str, list[Clip]]:
    """Divides a video into blocks, of which each fifth is a test and each fifth a validation block.

    Adjacent frames are almost equal, so frames that are drawn at random would be copies of training
    frames; and what happens in a video changes with time, so a single block per part would not be
    like the others.

    Args:
        video: The video.
        size: Number of frames per block; the last block may be shorter.
        targets: Targets of all frames of the video, (R, ...).

    Returns:
        The clips of "train", "val" and "test".

    Raises:
        InputError: If there are too few blocks for three parts.
    """
    parts: dict[str, list[Clip]] = {"train": [], "val": [], "test": []}
    for i, first in enumerate(range(0, video.length, size)):
        stop = min(first + size, video.length)
        name = f"frames {first} to {stop - 1}"
        clip = Clip(name, video, first, stop - first, targets[first:stop])
        parts[_CYCLE[i % len(_CYCLE)]].append(clip)
    if not all(parts.values()):
        raise InputError(
            f"{video.name}: expected at least 4 blocks of {size:,} frames, got {video.length:,} "
            "frames; lower --data.corpus.block"
        )
    return parts
