"""The predict command writes a row per video, or per frame, in every format, and pictures."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.targets import LossSettings, build_target
from srulight.tasks.video_prediction import predict as module
from srulight.tasks.video_prediction.plot import Pictures
from srulight.tasks.video_prediction.predict import VideoPredictor
from srulight.video.inputs import as_videos
from tests.tasks.video_prediction.models import make, metadata, video

VIDEOS = {"a/x.avi": video(5), "b/x.avi": video(3, 16, 20), "y": video(1)}


@pytest.fixture(autouse=True)
def _videos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays take the place of video files."""

    def opened(path: Path) -> Any:  # noqa: ANN401
        if str(path) not in VIDEOS:
            raise InputError(f"there is no file {path}")
        return as_videos(VIDEOS[str(path)])[0]

    monkeypatch.setattr(module, "open_video", opened)


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", ["class", "labels", "numbers"])
def test_a_row_per_frame(tmp_path: Path, kind: str) -> None:
    task = make(metadata(kind, step=2))
    VideoPredictor(probabilities=True).run(task, list(VIDEOS), str(tmp_path / "x.csv"))
    found = rows(tmp_path / "x.csv")
    places = [(row["file"], row["frame"]) for row in found]
    assert places == [
        ("a/x.avi", "0"), ("a/x.avi", "2"), ("a/x.avi", "4"), ("b/x.avi", "0"), ("b/x.avi", "2"),
        ("y", "0"),
    ]  # fmt: skip
    answers = task.predict(list(VIDEOS.values()))
    last = answers[0][2]
    values = last.values if kind == "numbers" else last.probabilities
    names = (
        [f"prediction:{name}" for name in "abc"]
        if kind == "numbers"
        else [f"probability:{name}" for name in "abc"]
    )
    assert [float(found[2][name]) for name in names] == pytest.approx(values, abs=1e-3, rel=1e-3)


def test_a_row_per_clip(tmp_path: Path) -> None:
    task = make(metadata(per="clip"))
    VideoPredictor(format="jsonl").run(task, list(VIDEOS), str(tmp_path / "x"))
    found = [json.loads(line) for line in (tmp_path / "x").read_text().splitlines()]
    assert [row["file"] for row in found] == list(VIDEOS)
    expected = [answer.label for answer in task.predict(list(VIDEOS.values()))]
    assert [row["prediction"] for row in found] == expected
    text = "".join(VideoPredictor(format="csv").answers(task, ["y"]))
    assert text.startswith("file,prediction")
    assert text.count("\n") == 2


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    VideoPredictor().run(make(), ["y", "a/x.avi"], str(tmp_path / "x.parquet"))
    assert parquet.read_table(tmp_path / "x.parquet")["frame"].to_pylist() == [0, 0, 1, 2, 3, 4]


def test_a_wrong_name_is_found_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file z"):
        VideoPredictor().run(make(), ["y", "z"], str(tmp_path / "x.csv"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="expected videos; pass --input with files or folders"):
        list(VideoPredictor().answers(make(), ["-"]))


def test_pictures_are_named_after_the_videos(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    predictor = VideoPredictor(plot=str(tmp_path / "plots"))
    list(predictor.answers(make(), list(VIDEOS)))
    found = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert found == ["x-2.png", "x.png", "y.png"]
    with pytest.raises(InputError, match="plot needs a model with an answer per frame"):
        list(predictor.answers(make(metadata(per="clip")), ["y"]))


@pytest.mark.parametrize("kind", ["class", "labels", "numbers"])
@pytest.mark.parametrize("count", [1, 20])
def test_pictures_have_room_for_each_name(tmp_path: Path, kind: str, count: int) -> None:
    pytest.importorskip("matplotlib")
    names = [f"tool {i} with a $long$ name"[:12] for i in range(count)]
    numbers: dict[str, Any] = {name: [1] * count for name in ("counts", "totals")}
    numbers |= {name: [1.0] * count for name in ("mean", "std")}
    target = build_target({"kind": kind, "names": names, "columns": [], **numbers}, LossSettings())
    import torch
    from matplotlib.image import imread

    answers = target.answers(torch.randn(300, count))
    path = Pictures(tmp_path).draw("v.avi", target, answers, 2)
    height, width, _ = imread(path).shape
    assert width == 1000
    assert height >= 18 * count  # a line of text is 14 pixels high
    assert np.ptp(imread(path)) > 0.5


def test_plot_needs_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    from srulight.tasks.video_prediction import plot

    monkeypatch.setattr(plot, "module_available", lambda name: False)
    with pytest.raises(InputError, match="plot needs matplotlib; install it: pip install"):
        VideoPredictor(plot="x")
