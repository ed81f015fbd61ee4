"""Generated tools: their targets follow from their flashes, which can be seen."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.targets import Kind
from srulight.tasks.video_prediction import SyntheticTools
from srulight.video.corpus import Clip, Per


def clips(part: str = "train", **options: Any) -> list[Clip]:  # noqa: ANN401
    sizes = {"train_size": 20, "val_size": 3, "test_size": 2, "frames": 30, "interval": 6.0}
    return list(SyntheticTools(**{**sizes, **options}).read(Path()).parts[part])


def drawn(clip: Clip) -> Any:  # noqa: ANN401
    return np.stack(list(clip.video.frames(clip.first, clip.length))).astype(float)


def test_flashes_are_seen_where_targets_change() -> None:
    seen = 0
    for clip in clips():
        change = np.diff(clip.targets, axis=0, prepend=0)
        assert (np.abs(change).sum(1) <= 1).all()
        frames = drawn(clip)
        bright = (frames > 0.85 * 255).sum((1, 2, 3))
        dark = (frames < 0.15 * 255).sum((1, 2, 3))
        np.testing.assert_array_equal(bright > 20, change.sum(1) == 1)
        np.testing.assert_array_equal(dark > 20, change.sum(1) == -1)
        seen += int(np.abs(change).sum())
    # 20 clips of 15 to 30 frames, and a flash of one of three tools every second frame.
    assert seen == pytest.approx(20 * 22.5 / 2, rel=0.15)


def test_kinds_agree() -> None:
    for label, number, one in zip(
        *(clips(kind=k) for k in ("labels", "numbers", "class")), strict=True
    ):
        change = np.abs(np.diff(label.targets, axis=0, prepend=0))
        last, uses = -100, np.zeros(3)
        for t in range(label.length):
            last = int(change[t].argmax()) if change[t].any() else last
            uses += label.targets[t]
            assert one.targets[t] == last
            np.testing.assert_array_equal(number.targets[t], uses)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_target_of_a_clip_is_that_of_its_last_frame(kind: Kind) -> None:
    per_clip, per_frame = (clips(kind=kind, per=per) for per in get_args(Per))
    for one, other in zip(per_clip, per_frame, strict=True):
        np.testing.assert_array_equal(one.targets, other.targets[-1])


def test_any_part_of_a_video_can_be_read() -> None:
    video = clips()[0].video
    whole = np.stack(list(video.frames()))
    assert whole.shape == (video.length, 32, 32, 1)
    for first, length in (
        (0, 3),
        (13, 40),
        (video.length - 5, 5),
        (video.length - 5, 99),
        (7, None),
    ):
        part = np.stack(list(video.frames(first, length)))
        np.testing.assert_array_equal(part, whole[first:][:length])


def test_sizes_and_seeds() -> None:
    assert [len(clips(part)) for part in ("train", "val", "test")] == [20, 3, 2]
    lengths = [clip.length for clip in clips(train_size=200)]
    assert (min(lengths), max(lengths)) == (15, 30)
    one, again, other = (clips(seed=seed)[0].video for seed in (0, 0, 1))
    assert one.key() == again.key() != other.key()
    assert clips("val")[0].video.key() != one.key()
    np.testing.assert_array_equal(next(one.frames()), next(again.frames()))


def test_options_out_of_range() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"interval": 1}, "interval must be at least 2, got 1"),
        ({"frames": 1}, "frames must be at least 2, got 1"),
        ({"val_size": 0}, "val_size must be at least 1, got 0"),
        ({"seed": -1}, "seed must be 0 to"),
    ]
    for options, message in wrong:
        with pytest.raises(InputError, match=message):
            SyntheticTools(**options)
