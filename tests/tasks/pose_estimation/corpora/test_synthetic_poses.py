"""Generated arms have the key points that are drawn."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srulight.tasks.pose_estimation.corpora.synthetic_poses import SyntheticPoses
from srulight.video.corpus import Clip


def frames_of(clip: Clip) -> NDArray[np.uint8]:
    return np.stack(list(clip.video.frames(clip.first, clip.length)))[..., 0]


def covered(clip: Clip) -> NDArray[np.bool_]:
    """Frames whose pixels are all nearly the same."""
    found: NDArray[np.bool_] = frames_of(clip).std((1, 2)) < 12
    return found


def test_parts_and_lengths() -> None:
    videos = SyntheticPoses(5, 2, 3, frames=20).read(Path())
    assert {name: len(part) for name, part in videos.parts.items()} == {
        "train": 5, "val": 2, "test": 3,
    }  # fmt: skip
    for part in videos.parts.values():
        assert part[0].video.length == sum(clip.length for clip in part)
        for clip in part:
            assert 15 <= clip.length <= 20
            assert clip.targets.shape == (clip.length, 3, 2)
            assert frames_of(clip).shape == (clip.length, 40, 40)
            assert clip.targets.min() >= 0
            assert clip.targets.max() <= 40


def test_the_shoulder_is_bright_and_the_hand_is_dark() -> None:
    videos = SyntheticPoses(3, 1, 1, hidden=0).read(Path())
    assert videos.names == ["shoulder", "elbow", "hand"]
    for clip in videos.train:
        frames = frames_of(clip)
        pixels = clip.targets.astype(int).clip(0, 39)
        time = np.arange(clip.length)
        values = np.stack([frames[time, pixels[:, i, 1], pixels[:, i, 0]] for i in range(3)], 1)
        # In some frames, a part of the arm lies in front of another one.
        shoulder, elbow, hand = np.median(values, axis=0)
        assert shoulder > 235
        assert 130 < elbow < 200
        assert hand < 20


def test_arms_have_one_length_and_move_smoothly() -> None:
    for clip in SyntheticPoses(5, 1, 1).read(Path()).train:
        points = clip.targets
        inside = ((points > 0) & (points < 40)).all((1, 2))
        links = np.linalg.norm(np.diff(points, axis=1), axis=-1)[inside]
        np.testing.assert_allclose(links, np.broadcast_to([9, 8], links.shape), rtol=1e-4)
        assert np.linalg.norm(np.diff(points, axis=0), axis=-1).max() < 6


def test_covers_hide_the_arm_but_not_its_key_points() -> None:
    for clip in SyntheticPoses(4, 1, 1, hidden=5, interval=4).read(Path()).train:
        hidden = covered(clip)
        assert not hidden[:4].any()
        assert hidden[4:9].all()
        assert 0.3 < hidden.mean() < 0.7
        assert np.isfinite(clip.targets).all()
    for clip in SyntheticPoses(2, 1, 1, hidden=0).read(Path()).train:
        assert not covered(clip).any()


def test_the_seed_determines_the_videos() -> None:
    one, two, other = (SyntheticPoses(2, 1, 1, seed=seed).read(Path()) for seed in (3, 3, 4))
    assert one.train[1].targets.tolist() == two.train[1].targets.tolist()
    assert (frames_of(one.train[1]) == frames_of(two.train[1])).all()
    assert one.train[0].video.key() == two.train[0].video.key()
    assert one.train[0].video.key() != other.train[0].video.key() != one.val[0].video.key()
    assert one.train[0].targets[0].tolist() != other.train[0].targets[0].tolist()


def test_frames_may_be_read_from_anywhere() -> None:
    clip = SyntheticPoses(3, 1, 1, frames=8).read(Path()).train[2]
    whole = np.stack(list(clip.video.frames()))
    for first, length in ((0, 3), (5, 9), (clip.first, clip.length)):
        part = np.stack(list(clip.video.frames(first, length)))
        assert (part == whole[first : first + length]).all()
