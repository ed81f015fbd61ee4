"""Tables of key points are read, and their errors are reported with file and row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.pose_estimation.corpora.key_point_tables import KeyPointTables

POINTS = "frame,nose_x,nose_y,tail_x,tail_y,note\n"


def write(root: Path, clips: str, **tables: str) -> Path:
    """Writes videos of 6 frames of 20 x 10 pixels, a table of clips, and tables of points."""
    for name in ("a", "b"):
        np.save(root / f"{name}.npy", np.zeros((6, 10, 20), dtype=np.uint8))
    (root / "clips.csv").write_text(clips)
    for name, text in tables.items():
        (root / f"{name}.csv").write_text(POINTS + text)
    return root


def test_points_are_placed_at_their_frames(tmp_path: Path) -> None:
    rows = "0,1,2,3,4,x\n2,5.5,6,,8,\n5,20,10,0,0,\n"
    clips = "file,labels,first_frame,last_frame,part\na.npy,p.csv,1,4,learn\nb.npy,p.csv,,,check\n"
    corpus = KeyPointTables(
        part="part", part_values=("learn", "check", "test"), pairs=[["tail", "nose"]]
    )
    videos = corpus.read(write(tmp_path, clips, p=rows))
    assert videos.names == ["nose", "tail"]
    assert videos.pairs == [(1, 0)]
    assert videos.test is None
    (one,), (other,) = videos.train, videos.val
    assert (one.first, one.length, other.length) == (1, 4, 6)
    expected = np.full((4, 2, 2), np.nan)
    expected[1] = [[5.5, 6], [np.nan, 8]]
    np.testing.assert_array_equal(one.targets, expected)
    assert other.targets[5].tolist() == [[20, 10], [0, 0]]
    assert np.isnan(other.targets[[1, 3, 4]]).all()


def test_the_last_tenth_of_the_only_clip_is_held_out(tmp_path: Path) -> None:
    root = write(tmp_path, "file,labels\na.npy,p.csv\n", p="5,1,2,3,4,\n")
    videos = KeyPointTables(points=["tail"]).read(root)
    assert [(c.first, c.length) for c in (*videos.train, *videos.val)] == [(0, 5), (5, 1)]
    assert videos.val[0].targets.tolist() == [[[3, 4]]]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("0,1,2,3,4,\n7,1,2,3,4,\n", r"p\.csv:3: expected frames from 0 to 5 of .*a\.npy, got 7"),
        ("0,1,2,3,4,\n0,1,2,3,4,\n", r"p\.csv:3: expected the index of a frame"),
        ("0,1,2,22,4,\n", r"p\.csv:2: expected 'tail' inside the frame of 20 x 10 .*, got 22, 4;"),
        ("0,1,-2,3,4,\n", r"p\.csv:2: expected 'nose' inside the frame"),
        ("0,1,2,x,4,\n", r"p\.csv:2: expected a number in column 'tail_x', got 'x'"),
    ],
)
def test_rows_are_checked(tmp_path: Path, rows: str, says: str) -> None:
    root = write(tmp_path, "file,labels\na.npy,p.csv\n", p=rows)
    with pytest.raises(InputError, match=says):
        KeyPointTables().read(root)


@pytest.mark.parametrize(
    ("clips", "options", "says"),
    [
        ("file,labels\nz.npy,p.csv\n", {}, r"clips\.csv:2: .*z\.npy"),
        ("file,labels\na.npy,q.csv\n", {}, r"q\.csv .*correct it in .*clips\.csv:2"),
        ("file,labels\na.npy,\nb.npy,p.csv\n", {}, r"clips\.csv:2: expected a table in column 'la"),
        ("file\na.npy\n", {}, r"expected a column 'labels', got the columns file; correct"),
        (
            "file,labels\na.npy,p.csv\n",
            {"points": ["ear"]},
            r"column 'ear_x'.*set --data.corpus.po",
        ),
        (
            "file,labels,s\na.npy,p.csv,no\n",
            {"part": "s"},
            r"clips\.csv:2: expected train, val, test",
        ),
        ("file,labels\na.npy,p.csv\n", {"pairs": [["nose", "ear"]]}, "pairs must be pairs of diff"),
    ],
)
def test_tables_are_checked(tmp_path: Path, clips: str, options: dict[str, Any], says: str) -> None:
    root = write(tmp_path, clips, p="0,1,2,3,4,\n")
    with pytest.raises(InputError, match=says):
        KeyPointTables(**options).read(root)


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="val and test must be unset"):
        KeyPointTables(part="s", val="v.csv")
    with pytest.raises(InputError, match="part_values must be three different values"):
        KeyPointTables(part_values=("a", "a", "b"))
    with pytest.raises(InputError, match=r"points must be different names, got \['a', 'a'\]"):
        KeyPointTables(points=["a", "a"])
