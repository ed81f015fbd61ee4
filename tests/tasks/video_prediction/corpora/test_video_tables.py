"""Tables with a row per clip."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.video_prediction.corpora import VideoTables


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the arrays a.npy to d.npy, of 10 frames each."""
    for name in "abcd":
        np.save(tmp_path / f"{name}.npy", np.full((10, 2, 3), ord(name), dtype=np.uint8))
    return tmp_path


def write(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n")


def test_class_per_clip_with_a_column_of_parts(root: Path) -> None:
    (root / "inner").mkdir()
    write(
        root / "inner" / "all.csv", "path,action,fold",
        "../a.npy,run,1", "../b.npy,walk,1", "../c.npy,run,2", "../d.npy,,3",
    )  # fmt: skip
    corpus = VideoTables(
        "inner/all.csv", part="fold", part_values=("1", "2", "3"), file="path", targets="action"
    )
    videos = corpus.read(root)
    assert videos.names == ["run", "walk"]
    assert videos.columns == ["action"]
    assert videos.test is not None
    for part, name, target in (
        (videos.train, "../a.npy", 0), (videos.val, "../c.npy", 0), (videos.test, "../d.npy", -100),
    ):  # fmt: skip
        assert (part[0].name, int(part[0].targets)) == (name, target)
        assert (part[0].first, part[0].length) == (0, 10)
    assert [int(clip.targets) for clip in videos.train] == [0, 1]


def test_frames_of_a_clip(root: Path) -> None:
    write(
        root / "clips.csv", "file,first_frame,last_frame,class",
        "a.npy,2,5,x", "a.npy,6,,y", "b.npy,,3,x",
    )  # fmt: skip
    write(root / "val.jsonl", '{"file": "c.npy", "class": "y"}')
    videos = VideoTables(val="val.jsonl").read(root)
    found = [(clip.name, clip.first, clip.length) for clip in videos.train]
    assert found == [("a.npy:2-5", 2, 4), ("a.npy:6-", 6, 4), ("b.npy:0-3", 0, 4)]
    assert videos.train[0].video is videos.train[1].video
    assert videos.test is None


def test_labels_and_numbers_per_clip(root: Path) -> None:
    write(
        root / "clips.csv", "file,tags,p,q",
        "a.npy,x;y,1,0.5", "b.npy,,0,", "c.npy,NaN,1,2", "d.npy,y,,3",
    )  # fmt: skip
    nan = np.nan
    for targets, kind, names, expected in (
        ("tags", "labels", ["x", "y"], [[1, 1], [0, 0], [nan, nan], [0, 1]]),
        (["p"], "labels", ["p"], [[1], [0], [1], [nan]]),
        (["p", "q"], "numbers", ["p", "q"], [[1, 0.5], [0, nan], [1, 2], [nan, 3]]),
    ):
        corpus = VideoTables(targets=targets, kind=kind, val="clips.csv")  # type: ignore[arg-type]
        videos = corpus.read(root)
        assert videos.names == names
        found = np.stack([clip.targets for clip in videos.train])
        np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))


def test_targets_per_frame(root: Path) -> None:
    write(root / "clips.csv", "file,labels,first_frame,last_frame", "a.npy,a.csv,2,6")
    write(root / "test.csv", "file,labels", "a.npy,a.csv")
    write(root / "a.csv", "frame,class", "0,u", "3,x", "4,y", "6,", "9,x")
    videos = VideoTables(val="clips.csv", per="frame").read(root)
    # Only the frames of training clips name classes.
    assert videos.names == ["x", "y"]
    assert videos.train[0].targets.tolist() == [-100, 0, 1, -100, -100]
    with pytest.raises(InputError, match=r"a\.csv:2: expected a target of the training .* got 'u'"):
        VideoTables(val="clips.csv", test="test.csv", per="frame").read(root)


def test_labels_per_frame(root: Path) -> None:
    write(root / "clips.csv", "file,labels", "a.npy,a.csv", "b.npy,b.csv")
    write(root / "a.csv", "frame,p,q", "1,1,0", "2,0,1")
    write(root / "b.csv", "frame,p,q", "9,1,1")
    corpus = VideoTables(targets=["p", "q"], kind="labels", per="frame", val="clips.csv")
    one, other = corpus.read(root).train
    assert one.targets[1:3].tolist() == [[1, 0], [0, 1]]
    assert np.isnan(one.targets).sum() == 16
    assert other.targets[9].tolist() == [1, 1]


def test_validation_clips_are_held_out(root: Path) -> None:
    rows = [f"{name}.npy,{name}" for name in "abcd"]
    write(root / "clips.csv", "file,class", *rows)
    videos = VideoTables().read(root)
    assert (len(videos.train), len(videos.val)) == (3, 1)
    assert {clip.name for clip in [*videos.train, *videos.val]} == {f"{n}.npy" for n in "abcd"}
    assert videos.names == ["a", "b", "c", "d"]


def test_end_of_the_only_video_is_held_out(root: Path) -> None:
    write(root / "clips.csv", "file,labels", "a.npy,a.csv")
    write(root / "a.csv", "frame,class", *(f"{i},{'xy'[i % 2]}" for i in range(10)))
    videos = VideoTables(per="frame").read(root)
    (train,), (val,) = videos.train, videos.val
    assert (train.first, train.length, val.first, val.length) == (0, 9, 9, 1)
    assert train.targets.tolist() == [0, 1] * 4 + [0]
    assert val.targets.tolist() == [1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x.npy,x,,", r"clips\.csv:3: x\.npy is not in "),
        ("bad.npy,x,,", r"clips\.csv:3: .*bad\.npy: expected a complete NumPy file"),
        ("a.txt,x,,", r"clips\.csv:3: a\.txt is not in"),
        (" ,x,,", r"clips\.csv:3: expected a video in column 'file', got ''"),
        ("a.npy,x,3,10", r"clips\.csv:3: expected frames from 0 to 9 of .*a\.npy, got 10"),
        ("a.npy,x,10,", r"clips\.csv:3: expected frames from 0 to 9 of .*a\.npy, got 10"),
        ("a.npy,x,5,4", r"clips\.csv:3: expected a last frame from 5 on .*, got 4"),
        ("a.npy,x,1.5,", r"clips\.csv:3: expected the index of a frame, .*'first_frame', got 1.5"),
        ("a.npy,x,-1,", r"clips\.csv:3: expected the index of a frame, .*'first_frame', got -1"),
        ("a.npy,x,one,", r"clips\.csv:3: expected a number in column 'first_frame', got 'one'"),
    ],
)
def test_row_with_an_error(root: Path, row: str, message: str) -> None:
    (root / "bad.npy").write_bytes(b"x")
    write(root / "clips.csv", "file,class,first_frame,last_frame", "a.npy,x,,", row)
    with pytest.raises(InputError, match=message):
        VideoTables().read(root)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0,x", "10,x"], r"a\.csv:3: expected frames from 0 to 9 of .*a\.npy, got 10"),
        (["1,x", "1,y"], r"a\.csv:3: expected the index of a frame, from 0, after 1 .*, got 1;"),
        (["2,x", "1,y"], r"a\.csv:3: expected the index of a frame, from 0, after 2 .*, got 1;"),
        ([",x"], r"a\.csv:2: expected the index of a frame, from 0, in column 'frame', got none"),
        (["-1,x"], r"a\.csv:2: expected the index of a frame, from 0, .*, got -1"),
        (["0,", "1,"], r"expected a target in column 'class', got none in all 2 rows"),
        (["0,1.5"], r"a\.csv:2: expected the name of a class .*kind=numbers"),
    ],
)
def test_table_of_frames_with_an_error(root: Path, lines: list[str], message: str) -> None:
    write(root / "clips.csv", "file,labels", "a.npy,a.csv")
    write(root / "a.csv", "frame,class", *lines)
    with pytest.raises(InputError, match=message):
        VideoTables(per="frame").read(root)


def test_errors_of_a_table_that_clips_share_are_told_once(root: Path) -> None:
    write(root / "clips.csv", "file,labels", "a.npy,x.csv", "b.npy,x.csv", "c.npy,x.csv")
    write(root / "x.csv", "frame,class", "0,x", "0,y")
    with pytest.raises(InputError, match=r"x\.csv:3: expected the index of a frame") as caught:
        VideoTables(per="frame").read(root)
    assert "\n" not in str(caught.value)


def test_missing_table_of_frames_is_told_by_its_row(root: Path) -> None:
    write(root / "clips.csv", "file,labels", "a.npy,x.csv", "b.npy,")
    with pytest.raises(InputError, match="2 rows have errors") as caught:
        VideoTables(per="frame").read(root)
    assert "x.csv is not in" in str(caught.value)
    assert "correct it in" in str(caught.value)
    assert "clips.csv:3: expected a table in column 'labels', got ''" in str(caught.value)


def test_the_name_of_a_table_of_frames_is_checked(root: Path) -> None:
    write(root / "clips.jsonl", r'{"file": "a.npy", "labels": "a\u0000.csv"}')
    with pytest.raises(InputError, match=r"jsonl:1: expected a table in column 'labels', got 'a"):
        VideoTables("clips.jsonl", per="frame").read(root)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": "acton"}, r"expected a column 'acton' \(did you mean 'action'\?\)"),
        ({"file": "path"}, r"expected a column 'path', got .*; correct --data.corpus.file"),
        ({"per": "frame"}, r"expected a column 'labels', .*set --data.corpus.per=clip"),
        ({"part": "split"}, r"clips\.csv:3: expected train, val, test in column 'split', got 'x'"),
        (
            {"part": "split", "part_values": ("a", "train", "x")},
            r"expected training clips \('a' in column 'split'\), got none",
        ),
        ({"train": "none.csv"}, r"none\.csv is not in .*; set --data.root"),
        ({"test": "test.csv"}, r"test\.csv:2: expected a target of the training data .* got 'fly'"),
        ({"part": "split", "test": "test.csv"}, "val and test must be unset if a column"),
        ({"part_values": ("a", "a", "b")}, "part_values must be three different values"),
        ({"targets": ["action", "split"]}, "targets must be one column if kind is 'class'"),
    ],
)
def test_settings_that_do_not_fit(root: Path, settings: dict[str, Any], message: str) -> None:
    write(root / "clips.csv", "file,action,split", "a.npy,run,train", "b.npy,walk,x")
    write(root / "test.csv", "file,action", "c.npy,fly")
    with pytest.raises(InputError, match=message):
        VideoTables(**{"targets": "action", **settings}).read(root)
