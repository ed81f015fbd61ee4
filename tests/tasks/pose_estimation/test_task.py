"""The model of key points trains with every head, and predicts whatever else is in the batch."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.tasks.pose_estimation import (
    KeyPointTables,
    PoseEstimation,
    PoseEstimationData,
    SyntheticPoses,
)
from srulight.video.batch import ClipBatch
from tests.tasks.pose_estimation.models import (
    HEADS,
    NAMES,
    ONLINE,
    SIZE,
    TinyEncoder,
    make,
    metadata,
)

every = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
online = pytest.mark.parametrize("head", ONLINE.values(), ids=ONLINE)


def batch(*lengths: int, is_first: bool = True, is_segment: bool = False) -> ClipBatch:
    steps = max(lengths)
    frames = torch.randint(0, 256, (len(lengths), steps, 1, SIZE, SIZE), dtype=torch.uint8)
    targets = torch.rand(len(lengths), steps, len(NAMES), 2) * SIZE
    for i, length in enumerate(lengths):
        targets[i, length:] = math.nan
    scales = torch.tensor([2.0, 3.0]).expand(len(lengths), 2)
    return ClipBatch(frames, torch.tensor(lengths), targets, scales, is_first, is_segment)


def piece(whole: ClipBatch, first: int, steps: int) -> ClipBatch:
    part = slice(first, first + steps)
    return whole._replace(
        frames=whole.frames[:, part],
        targets=whole.targets[:, part],
        lengths=(whole.lengths - first).clamp(0, steps),
        is_first=first == 0,
        is_segment=True,
    )


@every
def test_a_step_of_training_reduces_the_loss(head: Any) -> None:  # noqa: ANN401
    task = make(head).train()
    optimizer = torch.optim.Adam(task.parameters(), 0.01)
    data = batch(4, 2)
    losses = []
    for _ in range(4):
        loss = task.training_step(data, 0)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())
        optimizer.step()
    assert losses[-1] < losses[0]


@online
def test_segments_measure_what_whole_clips_do(head: Any) -> None:  # noqa: ANN401
    data = batch(5, 3)
    whole, split = make(head), make(head)
    split.load_state_dict(whole.state_dict())
    with torch.no_grad():
        whole.validation_step(data, 0)
        for first in (0, 2, 4):
            split.validation_step(piece(data, first, 2), 0)
    one, other = whole.val_metrics.compute(), split.val_metrics.compute()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value)
    assert one["val/points"][0].sum() == 8 * len(NAMES)


def test_metrics_are_in_pixels_of_the_video() -> None:
    task = make(ONLINE["regression"], metadata(unit=10.0), pck_threshold=0.5)
    data = batch(1)
    outputs = torch.zeros(1, 1, 3, 2)
    task.outputs = lambda *_: outputs  # type: ignore[method-assign]
    # 1 and 2 pixels of the frame are 2 and 6 of the video.
    true = torch.tensor([[1.0, 2.0], [0.0, 1.0], [math.nan, math.nan]])
    task.measure(data._replace(targets=true[None, None]), task.val_metrics, "val")
    found = {name.removeprefix("val/"): v for name, v in task.val_metrics.compute().items()}
    found = task.summarize("val", found)
    assert found["mae"].item() == pytest.approx((math.hypot(2, 6) + 3) / 2)
    assert found["pck"].item() == 0.5
    assert task.report is not None
    assert list(task.report.header) == ["point", "pck", "mae", "support"]
    rows = {row[0]: row[1:] for row in task.report.rows}
    assert rows["left"] == [1.0, pytest.approx(3.0), 1]
    assert rows["nose"][2] == 1
    assert rows["right"][2] == 0
    assert math.isnan(float(rows["right"][1]))


@every
def test_answers_do_not_depend_on_the_pieces(head: Any) -> None:  # noqa: ANN401
    task = make(head)
    video = np.random.default_rng(0).integers(0, 256, (7, 16, 24), dtype=np.uint8)
    (whole,) = task.predict(video)
    assert whole.points.shape == (7, 3, 2)
    assert whole.scores.shape == (7, 3)
    assert whole.frames.tolist() == [*range(7)]
    for size in (1, 3):
        (found,) = task.predict([video], batch_size=size)
        np.testing.assert_allclose(found.points, whole.points, rtol=1e-3, atol=1e-2)
    color = np.repeat(video[..., None], 3, -1)
    (same,) = task.predict(torch.from_numpy(color))
    np.testing.assert_allclose(same.points, whole.points, rtol=0.02, atol=0.2)


def test_points_are_in_pixels_of_the_video() -> None:
    task = make(ONLINE["regression"])
    with torch.no_grad():
        task.head.coordinates.weight.zero_()  # type: ignore[union-attr,operator]
    (found,) = task.predict(np.zeros((2, 16, 24), dtype=np.uint8))
    assert found.points.tolist() == [[[12.0, 8.0]] * 3] * 2
    assert np.isnan(found.scores).all()


def test_every_nth_frame_is_read() -> None:
    data = metadata()
    data["frames"]["step"] = 3
    task = make(ONLINE["heat maps"], data)
    video = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE), dtype=np.uint8)
    (found,) = task.predict(video)
    assert found.frames.tolist() == [0, 3, 6]
    (other,) = make_like(task).predict(video[::3])
    np.testing.assert_allclose(found.points, other.points, atol=1e-5)


def make_like(task: PoseEstimation) -> PoseEstimation:
    other = make(ONLINE["heat maps"])
    other.load_state_dict(task.state_dict())
    return other


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([3], r"inputs\[0\]: expected a path, or frames as an array or tensor, got int"),
        (np.zeros((2, 4, 4), np.float32), "inputs: expected an array of frames"),
        (["missing.mp4"], "missing.mp4 is not in"),
    ],
)
def test_what_is_no_video_is_refused(given: Any, says: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=says):
        make(ONLINE["heat maps"]).predict(given)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@every
def test_models_of_other_precisions_predict(dtype: torch.dtype, head: Any) -> None:  # noqa: ANN401
    task = make(head)
    video = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
    (found,) = task.to(dtype).predict(video)
    assert np.isfinite(found.points).all()
    assert found.points.dtype == np.float32
    task.validation_step(batch(3, 1), 0)
    assert task.val_metrics.compute()["val/loss"].isfinite()


def test_segments_need_an_encoder_in_one_direction() -> None:
    data = PoseEstimationData(SyntheticPoses(2, 1, 1), segment_length=4)
    with pytest.raises(InputError, match="segment_length needs a recurrent encoder that is not"):
        make(HEADS["regression, both ways"]).check(data)
    make(HEADS["regression, SRU"]).check(data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"height": 0}, "height"),
        ({"mean": [1.0, 2.0]}, "mean"),
        ({"std": [0.0]}, "std"),
        ({"mean": [math.nan]}, "mean"),
    ],
)
def test_metadata_of_frames_are_not_trusted(change: dict[str, Any], says: str) -> None:
    data = metadata()
    data["frames"] |= change
    with pytest.raises(InputError, match=says):
        PoseEstimation(TinyEncoder, head=ONLINE["heat maps"]).build(data)


def test_metadata_describe_the_data(tmp_path: Path) -> None:
    data = PoseEstimationData(
        SyntheticPoses(3, 1, 1, frames=8), height=20, width=10, pck_unit=["elbow", "hand"]
    )
    data.setup("fit")
    points = data.metadata["points"]
    assert points["names"] == ["shoulder", "elbow", "hand"]
    assert points["unit"] == pytest.approx(8.0, rel=0.02)  # the forearm
    (clips,) = data.datasets["train"].__getitems__([0])
    assert clips.targets[..., 0].nan_to_num().max() <= 10
    assert clips.scales.tolist() == [[4.0, 2.0]]
    other = PoseEstimationData(SyntheticPoses(3, 1, 1, frames=8))
    changed = {"names": ["a", "b", "c"], "pairs": [], "unit": "box"}
    other.load_metadata({**data.metadata, "points": changed})
    with pytest.raises(
        InputError, match=r"must be those of the checkpoint \(a, b, c\), got should"
    ):
        other.setup("test")


def test_data_without_key_points_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8), dtype=np.uint8))
    (tmp_path / "clips.csv").write_text("file,labels\na.npy,a.csv\n")
    (tmp_path / "a.csv").write_text("frame,nose_x,nose_y\n0,1,\n1,,\n3,2,2\n")
    # The last tenth, frame 3, is for validation, and half of a point is none.
    data = PoseEstimationData(KeyPointTables(), str(tmp_path))
    with pytest.raises(InputError, match="expected training frames with key points, got none"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        (["a"], "pck_unit must be two different key points, got \\['a'\\]"),
        (0.0, "pck_unit must be at least 0.001, got 0.0"),
        ("body", "pck_unit must be box, two key points or a length, got 'body'"),
    ],
)
def test_a_unit_is_checked(unit: Any, says: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=says):
        PoseEstimationData(pck_unit=unit)
