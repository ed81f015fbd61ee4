"""What is said about videos before training, and blocks of time."""

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.video import ArrayVideo
from srulight.video.blocks import divided
from srulight.video.corpus import Clip, Videos
from srulight.video.notes import describe_videos, shared_frames


def video(length: int) -> ArrayVideo:
    return ArrayVideo(np.zeros((length, 2, 2), dtype=np.uint8), "a video")


def test_parts_are_described() -> None:
    own = video(10)
    labels = np.zeros((10, 2), dtype=np.float32)
    labels[:4, 0] = 1
    labels[9] = np.nan
    train = [Clip("a", own, 0, 6, labels[:6]), Clip("b", own, 6, 2, labels[6:8])]
    videos = Videos(train, [Clip("c", own, 8, 2, labels[8:])], None, ["x", "y"], notes=["own note"])
    lines = [*describe_videos(videos, "labels", "frame", 1)]
    assert lines == [
        "own note",
        "train: 2 clips, 8 frames; labels: x 50.0%, y 0.0%",
        "val: 1 clips, 2 frames; labels: x 0.0%, y 0.0%; 2 missing",
        "length of training clips: median 2 frames, 95% at most 6, longest 6",
        "1 of 2 labels never change in the training frames: y; leave them out, or add frames",
    ]
    assert "train: 2 clips, 4 frames" in [*describe_videos(videos, "labels", "frame", 2)][1]


def test_key_points_are_described() -> None:
    points = np.zeros((4, 2, 2), dtype=np.float32)
    points[0, 1] = np.nan
    videos = Videos([Clip("a", video(4), 0, 4, points)], [], None, ["x", "y"])
    first, *_ = describe_videos(videos, "points", "frame", 1)
    assert first == "train: 1 clips, 4 frames; 2 key points per frame, 12.5% of them missing"


def test_shared_frames_are_counted() -> None:
    one, other = video(20), video(20)
    none = np.array(0)
    train = [Clip("a", one, 0, 10, none)]
    val = [Clip("b", one, 10, 5, none), Clip("c", one, 9, 2, none), Clip("d", other, 0, 9, none)]
    test = [Clip("e", one, 0, 20, none)]
    assert shared_frames(Videos(train, val, test, ["x"])) == (
        "1 of 3 val clips and 1 of 1 test clips share frames with the training data, so the scores "
        "will be too good; remove them from one of the two"
    )
    assert shared_frames(Videos(train, val[:1], None, ["x"])) is None


def test_a_video_is_divided_into_blocks() -> None:
    parts = divided(video(11), 2, np.arange(11))
    spans = {name: [(clip.first, clip.length) for clip in part] for name, part in parts.items()}
    assert spans == {"train": [(0, 2), (4, 2), (8, 2), (10, 1)], "val": [(6, 2)], "test": [(2, 2)]}
    assert parts["val"][0].name == "frames 6 to 7"
    assert parts["val"][0].targets.tolist() == [6, 7]
    with pytest.raises(InputError, match="expected at least 4 blocks of 4 frames, got 11 frames"):
        divided(video(11), 4, np.arange(11))
