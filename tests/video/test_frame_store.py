"""Frames in the cache, and in memory."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from srulight.runtime.errors import InputError
from srulight.video import ArrayVideo, VideoSource
from srulight.video.frame_store import resized, resized_frames, stored_frames
from tests.video.videos import moving_square


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


class Counted(VideoSource):
    """Frames with a key, which counts how many of them are alive."""

    def __init__(self, frames: NDArray[np.uint8], key: str | None, broken: bool = False) -> None:
        self.array = frames
        self.name = f"video {key}"
        self.length, self.height, self.width = frames.shape[:3]
        self.broken = broken
        self.decoded = 0
        self._key = key

    def key(self) -> Any:  # noqa: ANN401
        return self._key

    def frames(self, first: int = 0, length: int | None = None) -> Iterator[NDArray[np.uint8]]:
        for frame in self.array[first : self.stop(first, length)]:
            if self.broken:
                raise InputError(f"{self.name}: damaged")
            self.decoded += 1
            yield frame


@pytest.mark.parametrize("workers", [0, 3])
def test_each_video_is_decoded_once(workers: int) -> None:
    videos = [Counted(moving_square(5 + i), str(i)) for i in range(4)]
    for _ in range(2):
        found = stored_frames(videos, (3, 24, 32), workers)
        for video, frames in zip(videos, found, strict=True):
            expected = torch.from_numpy(video.array).movedim(-1, 1)
            assert torch.equal(frames, expected)
    assert [video.decoded for video in videos] == [5, 6, 7, 8]


def test_size_and_channels_are_part_of_the_key() -> None:
    video = Counted(moving_square(2), "a")
    shapes = [
        tuple(stored_frames([video], shape, 0)[0].shape)
        for shape in ((3, 24, 32), (1, 24, 32), (1, 8, 8))
    ]
    assert shapes == [(2, 3, 24, 32), (2, 1, 24, 32), (2, 1, 8, 8)]


def test_video_without_a_key_is_not_cached(tmp_path: Path) -> None:
    (found,) = stored_frames([ArrayVideo(moving_square(3))], (3, 24, 32), 0)
    assert torch.equal(found, torch.from_numpy(moving_square(3)).movedim(-1, 1))
    assert not (tmp_path / "cache").exists()


def test_damaged_video_stops_the_others(tmp_path: Path) -> None:
    videos = [Counted(moving_square(5), str(i), broken=i == 1) for i in range(50)]
    before = set(threading.enumerate())
    with pytest.raises(InputError, match="video 1: damaged"):
        stored_frames(videos, (1, 8, 8), 2)
    assert sum(video.decoded > 0 for video in videos) < 50
    assert set(threading.enumerate()) <= before
    assert not list((tmp_path / "cache" / "frames").glob("*.part"))


class Slow(Counted):
    """A video that takes seconds to decode."""

    def frames(self, first: int = 0, length: int | None = None) -> Iterator[NDArray[np.uint8]]:
        for frame in super().frames(first, length):
            time.sleep(0.01)
            yield frame


def test_damaged_video_stops_one_that_is_being_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srulight.video.frame_store._BYTES", 1)
    slow, broken = Slow(moving_square(100), "slow"), Counted(moving_square(5), "b", broken=True)
    with pytest.raises(InputError, match="video b: damaged"):
        stored_frames([slow, broken], (1, 8, 8), 2)
    assert slow.decoded < 50


def test_video_that_changes_while_it_is_read() -> None:
    video = Counted(moving_square(5), "a")
    video.length = 5
    video.array = video.array[:4]
    with pytest.raises(InputError, match="video a: expected 5 frames, got 4: the file changed"):
        stored_frames([video], (1, 8, 8), 0)


def test_few_frames_are_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srulight.video.frame_store._BYTES", 24 * 32 * 3 * 4)
    video = Counted(moving_square(20), "a")
    ahead = []
    taken = 0
    for piece in resized_frames(video, (1, 8, 8)):
        ahead.append(video.decoded - taken)
        taken += len(piece)
    assert ahead == [4] * 5


def test_frames_with_a_step() -> None:
    video = Counted(moving_square(20), "a")
    found = torch.cat([*resized_frames(video, (3, 24, 32), first=3, length=10, step=4)])
    expected = torch.from_numpy(video.array[[3, 7, 11]]).movedim(-1, 1)
    assert torch.equal(found, expected)


def test_gray_is_the_luma_of_bt_601() -> None:
    frames = torch.tensor([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]]])
    gray = resized(frames.to(torch.uint8), 1, 1, 4)
    # 0.299 R + 0.587 G + 0.114 B
    assert gray.flatten().tolist() == [76, 150, 29, 18]
    color = resized(torch.full((1, 1, 1, 1), 9, dtype=torch.uint8), 3, 1, 1)
    assert color.flatten().tolist() == [9, 9, 9]


def test_resizing_is_that_of_torch_in_floating_point() -> None:
    frames = torch.from_numpy(moving_square(3))
    found = resized(frames, 3, 10, 14)
    expected = F.interpolate(
        frames.movedim(-1, 1).float(), (10, 14), mode="bilinear", antialias=True
    )
    assert (found - expected).abs().max() <= 1
