"""Decoded and resized frames, kept in files that are mapped into memory."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Event

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.runtime.cache import cache_key, cached
from srulight.runtime.errors import InputError
from srulight.runtime.progress import progress
from srulight.video.sources import VideoSource

_VERSION = 2  # Version of the cached files; raise it when their content changes.
_PIECE = 64  # Most frames that are resized together.
_BYTES = 1 << 23  # Size of the frames that are resized together, unless one is larger.
_FEW = 1000  # Up to this many frames need no progress bar.


class _StoppedError(Exception):
    """Decoding has stopped, because another video failed or the user interrupted it."""


def stored_frames(
    videos: Sequence[VideoSource], shape: tuple[int, int, int], workers: int
) -> list[Tensor]:
    """Returns all frames of videos, which it decodes unless the cache has them.

    Frames of a video without a ``key`` are computed each time, and kept in memory.

    Args:
        videos: The videos.
        shape: Channels (3 for RGB, 1 for gray), height and width of the frames, in pixels.
        workers: Number of videos that are decoded at the same time, at least 1.

    Returns:
        The frames of each video, (R, C, H, W) uint8, mapped from a file or in memory.

    Raises:
        InputError: If a frame cannot be decoded.
    """
    done: SimpleQueue[int] = SimpleQueue()  # Numbers of decoded frames; 0 ends a video.
    failed: list[BaseException] = []
    stop = Event()

    def report(count: int) -> None:
        if stop.is_set():
            raise _StoppedError
        done.put(count)

    def end(thread: Future[Tensor]) -> None:
        with suppress(CancelledError):
            if error := thread.exception():
                failed.append(error)
        done.put(0)

    def counted() -> Iterator[int]:
        left = len(videos)
        while left:
            count = done.get()
            left -= not count
            if failed:
                raise failed[0]
            yield from range(count)

    # Threads suffice: FFmpeg, torch and hashlib release the global interpreter lock.
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            threads = [pool.submit(_stored, video, shape, report) for video in videos]
            for thread in threads:
                thread.add_done_callback(end)
            total = sum(video.length for video in videos)
            for _ in progress(counted(), "decoding the videos", total, _FEW):
                pass
            return [thread.result() for thread in threads]
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _stored(
    video: VideoSource, shape: tuple[int, int, int], report: Callable[[int], None]
) -> Tensor:
    key = video.key()
    full = (video.length, *shape)
    if key is None:
        frames = torch.empty(full, dtype=torch.uint8)
        start = 0
        for piece in resized_frames(video, shape):
            frames[start : start + len(piece)] = piece
            start += len(piece)
            report(len(piece))
        return frames
    folder = cached(
        "frames", cache_key(_VERSION, key, shape), partial(_write, video, shape, report)
    )
    return torch.from_file(
        str(folder / "frames.bin"), shared=False, size=torch.Size(full).numel(), dtype=torch.uint8
    ).view(full)


def _write(
    video: VideoSource, shape: tuple[int, int, int], report: Callable[[int], None], folder: Path
) -> None:
    count = 0
    with (folder / "frames.bin").open("wb") as file:
        for piece in resized_frames(video, shape):
            file.write(piece.numpy().data)
            count += len(piece)
            report(len(piece))
    if count != video.length:
        raise InputError(
            f"{video.name}: expected {video.length:,} frames, got {count:,}: the file changed "
            "while srulight read it; start again"
        )


def resized_frames(
    video: VideoSource,
    shape: tuple[int, int, int],
    first: int = 0,
    length: int | None = None,
    step: int = 1,
) -> Iterator[Tensor]:
    """Decodes and resizes frames, several at a time, so that memory stays small.

    Args:
        video: The video.
        shape: Channels (3 for RGB, 1 for gray), height and width of the results, in pixels.
        first: Index of the first frame.
        length: Number of frames from which every ``step``-th is taken; None for all that follow.
        step: Distance of the frames in frames of the video.

    Yields:
        Consecutive frames, (N, C, H, W) uint8.

    Raises:
        InputError: If a frame cannot be decoded.
    """
    frames = islice(video.frames(first, length), 0, None, step)
    count = max(1, min(_PIECE, _BYTES // (video.height * video.width * 3)))
    while piece := list(islice(frames, count)):
        yield resized(torch.from_numpy(np.stack(piece)), *shape)


def resized(frames: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Resizes frames, and converts their colors.

    Args:
        frames: Frames, (N, H, W, C) uint8, in RGB or gray.
        channels: 3 for RGB, 1 for gray.
        height: Height of the results in pixels.
        width: Width of the results in pixels.

    Returns:
        Frames, (N, C, H, W) uint8, contiguous.
    """
    frames = frames.movedim(-1, 1)
    if frames.shape[2:] != (height, width):
        # Bilinear interpolation needs the memory format of its input, channels last, to be fast.
        frames = F.interpolate(frames, (height, width), mode="bilinear", antialias=True)
    if channels == 1 and frames.size(1) == 3:
        # ITU-R BT.601, in NumPy because threads of torch would take longer for small frames.
        weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
        gray = frames.movedim(1, -1).numpy().astype(np.float32) @ weights
        frames = torch.from_numpy(np.rint(gray).astype(np.uint8)).unsqueeze(1)
    return frames.expand(-1, channels, -1, -1).contiguous()
