"""The command predict writes tables of key points, and pictures."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.pose_estimation.drawing import draw_points
from srulight.tasks.pose_estimation.predict import PosePredictor
from tests.tasks.pose_estimation.models import NAMES, ONLINE, make


@pytest.fixture
def videos(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "one.npy", tmp_path / "two" / "one.npy"]
    paths[1].parent.mkdir()
    for i, path in enumerate(paths):
        frames = np.random.default_rng(i).integers(0, 256, (5 - 2 * i, 12, 16), dtype=np.uint8)
        np.save(path, frames)
    return list(map(str, paths))


def test_a_table_has_a_row_per_frame(videos: list[str], tmp_path: Path) -> None:
    task = make(ONLINE["heat maps, ConvSRU"])
    found = task.predict(videos)
    output = tmp_path / "points.csv"
    PosePredictor(batch_size=2).run(task, videos, str(output))
    with output.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "file", "frame", *(f"{name}_{what}" for name in NAMES for what in ("x", "y", "score"))
    ]  # fmt: skip
    assert [(row["file"], int(row["frame"])) for row in rows] == [
        (path, i) for path, pose in zip(videos, found, strict=True) for i in range(len(pose.points))
    ]
    points = np.concatenate([pose.points for pose in found])
    scores = np.concatenate([pose.scores for pose in found])
    for i, name in enumerate(NAMES):
        own = np.array([[float(row[f"{name}_{axis}"]) for axis in "xy"] for row in rows])
        np.testing.assert_allclose(own, points[:, i], atol=0.006)
        sure = [float(row[f"{name}_score"]) for row in rows]
        np.testing.assert_allclose(sure, scores[:, i], atol=0.0006)


def test_regression_has_no_scores(videos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    task = make(ONLINE["regression"])
    PosePredictor(format="jsonl").run(task, videos[1:], "-")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 3
    assert rows[2]["frame"] == 2
    assert rows[0]["nose_score"] is None
    assert isinstance(rows[0]["nose_x"], float)


def test_parquet_needs_a_file(videos: list[str], tmp_path: Path) -> None:
    task = make(ONLINE["regression"])
    with pytest.raises(InputError, match="--format=parquet needs a file to write"):
        PosePredictor(format="parquet").run(task, videos, "-")
    parquet = pytest.importorskip("pyarrow.parquet")
    PosePredictor().run(task, videos, str(tmp_path / "points.parquet"))
    assert parquet.read_table(tmp_path / "points.parquet").num_rows == 8


def test_all_videos_are_opened_before_the_work_starts(
    videos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make(ONLINE["regression"])
    monkeypatch.setattr(task, "predict_frames", lambda *_: pytest.fail("began"))
    with pytest.raises(InputError, match=r"missing\.npy is not in"):
        list(PosePredictor().answers(task, [*videos, "missing.npy"]))
    with pytest.raises(InputError, match="expected videos; pass --input with files or folders"):
        list(PosePredictor().answers(task, ["-"]))


@pytest.mark.parametrize("ending", ["mp4", "gif"])
def test_pictures_have_the_frames(
    ending: str, videos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image")
    if ending == "mp4":
        pytest.importorskip("av")
    else:
        monkeypatch.setattr(
            "srulight.tasks.pose_estimation.drawing.module_available", lambda name: False
        )
    folder = tmp_path / "pictures"
    task = make(ONLINE["heat maps"])
    PosePredictor(plot=str(folder)).run(task, videos, str(tmp_path / "points.csv"))
    pictures = sorted(path.name for path in folder.glob("*.png"))
    # Both videos have the same name.
    assert pictures == [f"one-{i}.png" for i in range(5)] + [f"one_2-{i}.png" for i in range(3)]
    with image.open(folder / "one-0.png") as first:
        assert first.size == (16 * 24, 12 * 24)
    films = [folder / f"{name}.{ending}" for name in ("one", "one_2")]
    counts = []
    for film in films:
        if ending == "gif":
            with image.open(film) as moving:
                counts.append(moving.n_frames)
        else:
            with sys.modules["av"].open(str(film)) as file:
                counts.append(sum(1 for _ in file.decode(video=0)))
    assert counts == [5, 3]


def test_a_point_is_drawn_where_it_is() -> None:
    pytest.importorskip("PIL")
    frame = np.zeros((400, 500, 1), dtype=np.uint8)
    points = np.array([[100.0, 50.0], [np.nan, 3.0], [400.0, 300.0]], dtype=np.float32)
    drawn = np.asarray(draw_points(frame, points, ["", "", ""]))
    assert drawn.shape == (400, 500, 3)
    rows, columns = np.nonzero(drawn.max(-1) > 100)
    left = columns < 250
    assert (columns[left].mean(), rows[left].mean()) == pytest.approx((100, 50), abs=0.6)
    assert (columns[~left].mean(), rows[~left].mean()) == pytest.approx((400, 300), abs=0.6)


def test_many_names_are_listed_beside_the_frame() -> None:
    frame = np.zeros((40, 50, 1), dtype=np.uint8)
    few = draw_points(frame, np.full((12, 2), 9, dtype=np.float32), ["x"] * 12)
    assert few.size == (400, 320)  # eight times as large
    names = [f"point {i}" for i in range(40)]
    many = draw_points(frame, np.full((40, 2), np.nan, dtype=np.float32), names)
    assert many.size == (50 * 10 + 140, 480)  # 12 pixels per name
    drawn = np.asarray(many).max(-1) > 0
    assert not drawn[:, :500].any()
    assert all(drawn[12 * i : 12 * i + 12, 500:].any() for i in range(40))
