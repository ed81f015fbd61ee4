"""The flies are read in blocks of time."""

from pathlib import Path

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.pose_estimation.corpora.fly_points import FlyPoints, mirrored

NODES = ["head", "wingL", "wingR", "hindlegL1", "hindlegL3"]


def write(root: Path, frames: int = 1100, change: str = "") -> Path:
    """Writes small frames, and points that move by a pixel per 10 frames."""
    np.savez(root / "close_pair_128.npz", frames=np.zeros((frames, 16, 16), dtype=np.uint8))
    header = ",".join(["frame", "fly", *(f"{node}_{axis}" for node in NODES for axis in "xy")])
    rows = [header]
    for frame in range(frames):
        for fly in range(2):
            cells = [f"{24 * (i + 5 * fly) + frame / 10:g},48" for i in range(len(NODES))]
            rows.append(f"{frame},{fly}," + ",".join(cells))
    rows[7] = change or rows[7]
    (root / "close_pair.csv").write_text("\n".join(rows) + "\n")
    return root


def test_parts_are_blocks_of_time(tmp_path: Path) -> None:
    videos = FlyPoints("close_pair_128", block=220).read(write(tmp_path))
    spans = {name: [(c.first, c.length) for c in part] for name, part in videos.parts.items()}
    assert spans == {
        "train": [(0, 220), (440, 220), (880, 220)], "val": [(660, 220)], "test": [(220, 220)]
    }  # fmt: skip
    body = ["head", "wingL", "wingR", "hindlegL1"]  # not the ends of the legs
    assert videos.names == [f"{sex}.{node}" for sex in ("male", "female") for node in body]
    assert [(videos.names[i], videos.names[j]) for i, j in videos.pairs] == [
        ("male.wingL", "male.wingR"), ("female.wingL", "female.wingR"),
    ]  # fmt: skip
    # The points are those of the video of 384 pixels, of which these are a 24th.
    assert videos.val[0].targets[10, 5].tolist() == pytest.approx([(24 * 6 + 67) / 24, 2.0])


def test_points_are_chosen_by_name(tmp_path: Path) -> None:
    root = write(tmp_path)
    videos = FlyPoints("close_pair_128", ["female.hindlegL3", "male.head"]).read(root)
    assert videos.names == ["female.hindlegL3", "male.head"]
    assert videos.train[0].targets[0].tolist() == [[9.0, 2.0], [0.0, 2.0]]
    with pytest.raises(InputError, match=r"points must be key points of .*, got 'male\.tail'"):
        FlyPoints("close_pair_128", ["male.tail"]).read(root)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("1200,0" + ",1" * 10, "csv:8: expected a frame from 0 to 1099, .* got 1200; correct it"),
        ("1,0" + ",1" * 10, "csv:8: expected one row per frame, got another one for frame 1"),
        ("3,0,500,48" + ",1" * 8, "csv:8: expected 'head' inside the frame of 16 x 16 pixels"),
        ("3,0,x,48" + ",1" * 8, "csv:8: expected a number in column 'head_x', got 'x'"),
    ],
)
def test_rows_are_checked(tmp_path: Path, row: str, says: str) -> None:
    root = write(tmp_path, change=row)
    with pytest.raises(InputError, match=says):
        FlyPoints("close_pair_128").read(root)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"close_pair_128\.npz is not in"):
        FlyPoints("close_pair_128").read(tmp_path)


def test_mirror_images_exchange_left_and_right() -> None:
    names = ["male.wingL", "male.Loud", "female.wingR", "male.wingR", "male.legR2", "male.legL2"]
    assert mirrored(names) == [(0, 3), (5, 4)]
