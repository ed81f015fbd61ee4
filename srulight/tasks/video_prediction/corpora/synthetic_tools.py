"""Generated videos of tools, whose targets depend on flashes far in the past."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.errors import LARGEST_SEED, check_range
from srulight.targets import Kind
from srulight.video.corpus import Clip, Per, VideoCorpus, Videos
from srulight.video.shapes import Shape, blend, coverage
from srulight.video.sources import VideoSource

_VERSION = 1  # Version of the generated frames; raise it when they change.
_TOOLS: tuple[Shape, ...] = ("disk", "triangle", "cross")
_NAMES = [*_TOOLS]
_SIZE = 32  # Height and width of a frame in pixels.
_RADIUS = 5.0
_BACKGROUND, _DARK, _TOOL, _BRIGHT = 0.35, 0.0, 0.6, 1.0
_NOISE = 0.02  # Standard deviation of a pixel.


class SyntheticTools(VideoCorpus):
    """Generated videos of three tools, which need neither files nor a network.

    A disk, a triangle and a cross move over a small gray frame. Each tool is in use from the frame
    in which it flashes bright until it flashes dark, and looks the same in between as it does
    before and after. A model without memory can therefore only guess which tools are in use.

    - ``class``: the tool that flashed last, bright or dark;
    - ``labels``: whether each tool is in use;
    - ``numbers``: the number of frames in which each tool has been in use.

    At the start no tool is in use. The class is missing before the first flash.

    Args:
        kind: Kind of the targets.
        per: Whether each frame has a target, or only the whole clip: that of its last frame.
        train_size: Number of training clips.
        val_size: Number of validation clips.
        test_size: Number of test clips.
        frames: Number of frames of the longest clips; the shortest have half as many.
        interval: Mean number of frames between two flashes of a tool, at least 2.
        seed: Seed that determines the videos.
    """

    def __init__(
        self,
        kind: Kind = "labels",
        per: Per = "frame",
        train_size: int = 100,
        val_size: int = 30,
        test_size: int = 30,
        frames: int = 60,
        interval: float = 8.0,
        seed: int = 0,
    ) -> None:
        check_range(1, train_size=train_size, val_size=val_size, test_size=test_size)
        check_range(2, frames=frames, interval=interval)
        check_range(0, LARGEST_SEED, seed=seed)
        self.kind = kind
        self.per = per
        self.sizes = {"train": train_size, "val": val_size, "test": test_size}
        self.frames = frames
        self.interval = interval
        self.seed = seed

    def read(self, root: Path) -> Videos:
        parts = {
            name: self._part(name, size, np.random.default_rng([self.seed, i]))
            for i, (name, size) in enumerate(self.sizes.items())
        }
        return Videos(**parts, names=_NAMES)  # type: ignore[arg-type]

    def _part(self, name: str, size: int, rng: np.random.Generator) -> list[Clip]:
        lengths = rng.integers(self.frames // 2, self.frames + 1, size).tolist()
        flashes = [self._flashes(length, rng) for length in lengths]
        seeds = rng.integers(2**32, size=size).tolist()
        # One video with all clips of the part needs only one file in the cache.
        video = _ToolVideo(f"the generated {name} videos", flashes, seeds)
        clips, first = [], 0
        for i, (length, own) in enumerate(zip(lengths, flashes, strict=True)):
            targets = self._targets(own)
            targets = targets if self.per == "frame" else targets[-1]
            clips.append(Clip(f"{name}-{i}", video, first, length, targets))
            first += length
        return clips

    def _flashes(self, length: int, rng: np.random.Generator) -> NDArray[np.int8]:
        """Returns the flashes of a clip, (T, 3): 1 bright, -1 dark, 0 none.

        Bright and dark flashes of a tool alternate, and no two tools flash in the same frame.
        """
        flashes = np.zeros((length, len(_TOOLS)), dtype=np.int8)
        for frame, flashing in enumerate(rng.random(length) < len(_TOOLS) / self.interval):
            if flashing:
                tool = rng.integers(len(_TOOLS))
                flashes[frame, tool] = 1 - 2 * flashes[:frame, tool].sum()
        return flashes

    def _targets(self, flashes: NDArray[np.int8]) -> NDArray[Any]:
        """Returns the target of each frame from the flashes of a clip."""
        if self.kind == "class":
            frames = np.arange(len(flashes))[:, None]
            last = np.maximum.accumulate(np.where(flashes != 0, frames, -1), axis=0)
            return np.where(last.max(axis=1) < 0, -100, last.argmax(axis=1)).astype(np.int64)
        in_use = flashes.cumsum(axis=0)
        return (in_use if self.kind == "labels" else in_use.cumsum(axis=0)).astype(np.float32)


class _ToolVideo(VideoSource):
    """The generated clips of a part, one after the other.

    Args:
        name: Name of the video for messages.
        flashes: Flashes of each clip, (T, 3).
        seeds: Seed of the movements of each clip.
    """

    height = width = _SIZE

    def __init__(self, name: str, flashes: list[NDArray[np.int8]], seeds: list[int]) -> None:
        self.name = name
        self.length = sum(map(len, flashes))
        self._flashes = flashes
        self._seeds = seeds

    def key(self) -> Any:  # noqa: ANN401
        return ["SyntheticTools", _VERSION, self._seeds, [f.tolist() for f in self._flashes]]

    def frames(self, first: int = 0, length: int | None = None) -> Iterator[NDArray[np.uint8]]:
        stop = self.length if length is None else min(self.length, first + length)
        start = 0
        for flashes, seed in zip(self._flashes, self._seeds, strict=True):
            if start < stop and first < start + len(flashes):
                drawn = _draw(flashes, np.random.default_rng(seed))
                yield from drawn[max(0, first - start) : stop - start]
            start += len(flashes)


def _draw(flashes: NDArray[np.int8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws a clip, (T, H, W, 1)."""
    time = np.arange(len(flashes))
    paths = [[_wave(time, rng) for _ in range(2)] for _ in _TOOLS]
    drawn = np.empty((len(flashes), _SIZE, _SIZE, 1), dtype=np.uint8)
    for t in time.tolist():
        frame = np.full((_SIZE, _SIZE), _BACKGROUND, dtype=np.float32)
        # A tool that flashes is in front, so that no other one hides the flash.
        for i in sorted(range(len(_TOOLS)), key=lambda i: abs(flashes[t, i])):
            center = (float(paths[i][0][t]), float(paths[i][1][t]))
            color = {1: _BRIGHT, -1: _DARK, 0: _TOOL}[int(flashes[t, i])]
            blend(frame, coverage(_TOOLS[i], _SIZE, _SIZE, center, _RADIUS), color)
        frame += rng.normal(0, _NOISE, frame.shape).astype(np.float32)
        drawn[t] = np.clip(frame[..., None] * 255, 0, 255).round()
    return drawn


def _wave(time: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns a coordinate of a tool that swings, at each frame."""
    middle = _SIZE / 2
    reach = rng.uniform(0.4, 0.9) * (middle - _RADIUS)
    return middle + reach * np.sin(rng.uniform(0.05, 0.2) * time + rng.uniform(0, math.tau))
