"""Videos to predict from: paths, arrays and tensors."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.video.array_video import ArrayVideo
from srulight.video.frame_store import resized_frames
from srulight.video.open_video import open_video
from srulight.video.sources import VideoSource


def as_videos(inputs: Any) -> list[VideoSource]:  # noqa: ANN401
    """Opens the inputs of the ``predict`` of a task.

    Args:
        inputs: One video, or a list of them: a path, frames as an array or tensor, (T, H, W) or (T,
            H, W, C) uint8, or a video that is open already.

    Raises:
        InputError: If an input is not a video.
    """
    if isinstance(inputs, list | tuple):
        return [_as_video(one, f"inputs[{i}]") for i, one in enumerate(inputs)]
    return [_as_video(inputs, "inputs")]


def _as_video(one: Any, where: str) -> VideoSource:  # noqa: ANN401
    if isinstance(one, VideoSource):
        return one
    if isinstance(one, str | os.PathLike):
        return open_video(Path(one))
    if not isinstance(one, np.ndarray | Tensor):
        raise InputError(
            f"{where}: expected a path, or frames as an array or tensor, got {type(one).__name__}"
        )
    return ArrayVideo(one.cpu().numpy() if isinstance(one, Tensor) else one, where)


def pieces_of(video: VideoSource, about: dict[str, Any], size: int | None) -> Iterator[Tensor]:
    """Reads a video as the model does, a few frames at a time.

    Args:
        video: The video.
        about: ``frames`` of the metadata.
        size: Largest number of frames of a piece; None for all frames together.

    Yields:
        Frames, (N, C, H, W) uint8.
    """
    shape = (3 if about["color"] else 1, about["height"], about["width"])
    pieces = resized_frames(video, shape, step=about["step"])
    if size is None:
        yield torch.cat(list(pieces))
        return
    for piece in pieces:
        yield from piece.split(size)
