"""The data of videos: targets, metadata, and what a checkpoint asks for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.targets import Kind
from srulight.tasks.video_prediction import SyntheticTools, VideoPredictionData
from srulight.video.corpus import VideoCorpus, Videos


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


def tools(kind: Kind = "labels", **options: Any) -> SyntheticTools:  # noqa: ANN401
    sizes = {"train_size": 4, "val_size": 2, "test_size": 2, "frames": 12, "interval": 3.0}
    return SyntheticTools(kind, **{**sizes, **options})


def made(corpus: VideoCorpus, **options: Any) -> VideoPredictionData:  # noqa: ANN401
    data = VideoPredictionData(corpus, height=8, width=8, **options)
    data.setup()
    return data


def test_metadata() -> None:
    corpus = tools()
    found = made(corpus, frame_step=2).metadata
    targets = np.concatenate([clip.targets[::2] for clip in corpus.read(Path()).train])
    assert found["per"] == "frame"
    assert found["target"] == {
        "kind": "labels",
        "names": ["disk", "triangle", "cross"],
        "columns": [],
        "counts": targets.sum(0).tolist(),
        "totals": [len(targets)] * 3,
    }
    assert found["frames"]["step"] == 2


def test_numbers_are_standardized() -> None:
    data = made(tools("numbers"))
    targets = torch.cat([clip.targets for clip in data.datasets["train"].clips])  # type: ignore[attr-defined]
    assert targets.mean(0).tolist() == pytest.approx([0] * 3, abs=1e-5)
    assert targets.std(0, correction=0).tolist() == pytest.approx([1] * 3, abs=1e-5)


def test_clips_have_one_target_each() -> None:
    corpus = tools("class", per="clip")
    data = made(corpus)
    (batch,) = data.datasets["val"].__getitems__([0, 1])
    assert batch.targets.tolist() == [int(clip.targets) for clip in corpus.read(Path()).val]


@pytest.mark.parametrize("option", ["clip_length", "segment_length"])
def test_one_target_per_clip_needs_whole_clips(option: str) -> None:
    options: dict[str, Any] = {option: 4}
    with pytest.raises(InputError, match=rf"--data\.{option} needs a target at each frame"):
        VideoPredictionData(tools(per="clip"), **options)


def test_the_targets_must_be_those_of_the_checkpoint() -> None:
    trained = made(tools()).metadata
    for other in (tools("class"), tools(per="clip")):
        with pytest.raises(InputError, match=r"must have the targets of the checkpoint \(labels p"):
            VideoPredictionData(other).load_metadata(trained)
    data = VideoPredictionData(tools())
    names = {**trained["target"], "names": ["disk", "hook", "cross"]}
    data.load_metadata({**trained, "target": names})
    with pytest.raises(InputError, match=r"those of the checkpoint \(disk, hook, cross\), got "):
        data.setup()
    data = VideoPredictionData(tools())
    data.load_metadata(trained)
    data.setup()
    assert (data.height, data.width) == (8, 8)


def test_key_points_belong_to_another_task() -> None:
    class Points(VideoCorpus):
        kind = "points"

        def read(self, root: Path) -> Videos:
            raise NotImplementedError

    with pytest.raises(InputError, match="got one of key points; use --data=PoseEstimationData"):
        VideoPredictionData(Points())


def test_notes(caplog: pytest.LogCaptureFixture) -> None:
    data = VideoPredictionData(tools(frames=2, interval=100.0, kind="class"), height=8, width=8)
    with pytest.raises(InputError, match="expected training frames with"):
        data.setup("fit")
    data = VideoPredictionData(tools(), height=8, width=8)
    data.setup("fit")
    assert "train: 4 clips, " in caplog.text
    assert "length of training clips: median " in caplog.text
