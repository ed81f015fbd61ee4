"""Generated videos of an arm that swings, and that something covers from time to time."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.errors import LARGEST_SEED, check_range
from srulight.video.corpus import Clip, VideoCorpus, Videos
from srulight.video.sources import VideoSource

_VERSION = 1  # Version of the generated frames; raise it when they change.
_NAMES = ["shoulder", "elbow", "hand"]
_SIZE = 40  # Height and width of a frame in pixels.
_LINKS = (9.0, 8.0)  # Lengths of the upper arm and of the forearm in pixels.
_RADII = (3.0, 1.8, 2.4)  # Radii of the points in pixels.
_COLORS = (1.0, 0.65, 0.0)
_LINK_RADIUS, _LINK_COLOR = 0.9, 0.65
_BACKGROUND, _COVER = 0.3, 0.55
_NOISE = 0.03  # Standard deviation of a pixel.


class SyntheticPoses(VideoCorpus):
    """Generated videos of an arm with three key points, which need neither files nor a network.

    An arm with a shoulder, an elbow and a hand moves smoothly over a small gray frame. From time to
    time, something covers the whole frame. The key points are labeled in these frames, too: a
    network that remembers how the arm moved can follow it, and one without memory can only guess.

    Args:
        train_size: Number of training clips.
        val_size: Number of validation clips.
        test_size: Number of test clips.
        frames: Number of frames of the longest clips; the shortest have three quarters as many.
        hidden: Number of consecutive frames that are covered at a time; 0 covers none.
        interval: Mean number of frames from the end of a cover to the next cover, at least 1. The
            first ``interval`` frames of a clip are never covered.
        speed: Factor of the speed of the arm.
        seed: Seed that determines the videos.
    """

    kind = "points"

    def __init__(
        self,
        train_size: int = 100,
        val_size: int = 30,
        test_size: int = 30,
        frames: int = 40,
        hidden: int = 6,
        interval: int = 6,
        speed: float = 1.0,
        seed: int = 0,
    ) -> None:
        check_range(1, train_size=train_size, val_size=val_size, test_size=test_size)
        check_range(1, frames=frames, interval=interval)
        check_range(0, hidden=hidden, speed=speed)
        check_range(0, LARGEST_SEED, seed=seed)
        self.sizes = {"train": train_size, "val": val_size, "test": test_size}
        self.frames = frames
        self.hidden = hidden
        self.interval = interval
        self.speed = speed
        self.seed = seed

    def read(self, root: Path) -> Videos:
        parts = {
            name: self._part(name, size, np.random.default_rng([self.seed, i]))
            for i, (name, size) in enumerate(self.sizes.items())
        }
        return Videos(**parts, names=_NAMES)  # type: ignore[arg-type]

    def _part(self, name: str, size: int, rng: np.random.Generator) -> list[Clip]:
        lengths = rng.integers(math.ceil(0.75 * self.frames), self.frames + 1, size).tolist()
        scenes = [
            _Scene(_poses(length, self.speed, rng), self._covered(length, rng))
            for length in lengths
        ]
        # One video with all clips of the part needs only one file in the cache.
        video = _ArmVideo(f"the generated {name} videos", scenes, self.seed)
        starts = (np.cumsum(lengths) - lengths).tolist()
        return [
            Clip(f"{name}-{i}", video, start, len(scene.points), scene.points)
            for i, (start, scene) in enumerate(zip(starts, scenes, strict=True))
        ]

    def _covered(self, length: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Returns which frames are covered, (T,)."""
        covered = np.zeros(length, dtype=np.bool_)
        start = self.interval
        while self.hidden and start < length:
            covered[start : start + self.hidden] = True
            gap = rng.integers((self.interval + 1) // 2, self.interval + self.interval // 2 + 1)
            start += self.hidden + int(gap)
        return covered


class _Scene(NamedTuple):
    """A clip.

    Attributes:
        points: The key points, (T, 3, 2) float32.
        covered: Which frames are covered, (T,).
    """

    points: NDArray[np.float32]
    covered: NDArray[np.bool_]


class _ArmVideo(VideoSource):
    """The generated clips of a part, one after the other.

    Args:
        name: Name of the video for messages.
        scenes: The clips.
        seed: Seed of the noise.
    """

    height = width = _SIZE

    def __init__(self, name: str, scenes: list[_Scene], seed: int) -> None:
        self.name = name
        self.length = sum(len(scene.covered) for scene in scenes)
        self._scenes = scenes
        self._seed = seed

    def key(self) -> Any:  # noqa: ANN401
        contents = hashlib.sha256()
        for scene in self._scenes:
            contents.update(scene.points.tobytes() + scene.covered.tobytes())
        return ["SyntheticPoses", _VERSION, self._seed, contents.hexdigest()]

    def frames(self, first: int = 0, length: int | None = None) -> Iterator[NDArray[np.uint8]]:
        stop = self.length if length is None else first + length
        start = 0
        for i, scene in enumerate(self._scenes):
            end = start + len(scene.covered)
            if start < stop and first < end:
                drawn = _draw(scene, np.random.default_rng([self._seed, i]))
                yield from drawn[max(0, first - start) : stop - start]
            start = end


def _poses(length: int, speed: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns the key points of a clip, (T, 3, 2)."""
    time = np.arange(length) * speed

    def wave(low: float, high: float) -> NDArray[np.float64]:
        """Returns a number between -1 and 1 at each frame, which turns with an even speed."""
        turn: float = rng.uniform(low, high) * rng.choice([-1, 1])
        return np.sin(turn * time + rng.uniform(0, math.tau))

    middle = _SIZE / 2
    shoulder = np.stack([middle + 5 * wave(0.03, 0.1), middle + 5 * wave(0.03, 0.1)], -1)
    upper = rng.uniform(0, math.tau) + 0.8 * wave(0.1, 0.2)
    lower = upper + 1.0 + 0.8 * wave(0.1, 0.2)
    points = [shoulder]
    for length_of_link, angle in zip(_LINKS, (upper, lower), strict=True):
        points.append(points[-1] + length_of_link * np.stack([np.cos(angle), np.sin(angle)], -1))
    found = np.stack(points, 1)
    return found.clip(0, _SIZE).astype(np.float32)


def _draw(scene: _Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws a clip, (T, H, W, 1)."""
    y, x = np.mgrid[:_SIZE, :_SIZE] + 0.5
    grid = np.stack([x, y], -1)
    frames = np.full((len(scene.covered), _SIZE, _SIZE), _BACKGROUND)
    points = scene.points.astype(np.float64)
    for i in range(len(_LINKS)):
        distance = _distance(grid, points[:, i], points[:, i + 1])
        _paint(frames, distance - _LINK_RADIUS, _LINK_COLOR)
    for i, (radius, color) in enumerate(zip(_RADII, _COLORS, strict=True)):
        distance = np.linalg.norm(grid - points[:, i, None, None], axis=-1)
        _paint(frames, distance - radius, color)
    frames[scene.covered] = _COVER
    frames += rng.normal(0, _NOISE, frames.shape)
    return (frames[..., None] * 255).clip(0, 255).round().astype(np.uint8)


def _distance(
    grid: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the distance of each pixel from a line at each frame, (T, H, W)."""
    line = (end - start)[:, None, None]
    offset = grid - start[:, None, None]
    square = np.maximum((line * line).sum(-1), 1e-9)
    along = ((offset * line).sum(-1) / square).clip(0, 1)
    return np.linalg.norm(offset - along[..., None] * line, axis=-1)


def _paint(frames: NDArray[np.float64], distance: NDArray[np.float64], color: float) -> None:
    """Paints whatever is nearer than 0, in place, with a smooth edge."""
    share = (0.5 - distance).clip(0, 1)
    frames += share * (color - frames)
