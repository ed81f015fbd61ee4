"""The model of videos trains with every encoder, and predicts whatever else is in the batch."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer

from srulight import load
from srulight.runtime.errors import InputError
from srulight.tasks.video_prediction import SyntheticTools, VideoPrediction, VideoPredictionData
from srulight.tasks.video_prediction import task as module
from srulight.video.frame_encoders import ResNet
from tests.tasks.video_prediction.models import OFFLINE, ONLINE, RESNET, make, metadata, video

ENCODERS = {**ONLINE, **OFFLINE}
every_encoder = pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
LENGTHS = [5, 1, 12]


def probabilities(answers: Any) -> list[Any]:  # noqa: ANN401
    """The probabilities of answers, or of lists of answers."""
    return [probabilities(a) if isinstance(a, list) else a.probabilities for a in answers]


def assert_same(found: Any, expected: Any, atol: float = 1e-5) -> None:  # noqa: ANN401
    """Compares probabilities, or lists of them of any length."""
    assert len(found) == len(expected)
    for own, other in zip(probabilities(found), probabilities(expected), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=atol)


def tools(**options: Any) -> SyntheticTools:  # noqa: ANN401
    sizes = {"train_size": 4, "val_size": 2, "test_size": 2, "frames": 8, "interval": 3.0}
    return SyntheticTools(**{**sizes, **options})


def quiet(folder: Path, **options: Any) -> Trainer:  # noqa: ANN401
    return Trainer(
        accelerator="cpu", default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **{"max_epochs": 1, **options},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from srulight.ops import extension

    extension.load("cpu")  # from the cache of kernels, before there is another
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


@every_encoder
@pytest.mark.parametrize("per", ["frame", "clip"])
def test_a_step_of_training_reduces_the_loss(encoder: Any, per: Any) -> None:  # noqa: ANN401
    data = VideoPredictionData(tools(kind="labels", per=per), height=8, width=8)
    data.setup("fit")
    torch.manual_seed(0)
    task = VideoPrediction(RESNET, dropout=0.0, encoder=encoder)
    task.build(data.metadata)
    (batch,) = data.datasets["train"].__getitems__([*range(4)])
    optimizer = torch.optim.Adam(task.parameters(), 0.003)
    losses = []
    for _ in range(3):
        loss = task.training_step(batch, 0)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())
        optimizer.step()
    assert losses[2] < losses[0]


@every_encoder
@pytest.mark.parametrize("per", ["frame", "clip"])
def test_padding_changes_no_output(encoder: Any, per: str) -> None:  # noqa: ANN401
    task = make(metadata(per=per), encoder=encoder)
    frames = torch.from_numpy(np.stack([video(9), video(9, seed=1)]))[:, :, None]
    lengths = torch.tensor([9, 5])
    batch = task(frames, lengths)
    frames[1, 5:] = 200
    padded = task(frames, lengths)
    alone = task(frames[1:, :5], lengths[1:])
    if per == "frame":
        batch, padded = batch[:, :5], padded[:, :5]
    torch.testing.assert_close(padded, batch)
    torch.testing.assert_close(padded[1:], alone)


def test_padding_enters_no_statistics() -> None:
    frames = partial(ResNet, width=4, blocks=(1,), norm="batch")
    running = []
    for padding in (0, 7):
        torch.manual_seed(0)
        task = make(frames=frames).train()
        padded = np.concatenate([video(3), np.zeros((padding, 8, 10), np.uint8)])
        task(torch.from_numpy(padded)[None, :, None], torch.tensor([3]))
        running.append(task.frame_encoder.get_buffer("bn1.running_mean"))
    torch.testing.assert_close(*running)


@every_encoder
@pytest.mark.parametrize("pooling", ["auto", "last", "mean", "max"])
@pytest.mark.parametrize("per", ["frame", "clip"])
def test_answers_are_those_of_the_whole_network(encoder: Any, pooling: Any, per: str) -> None:  # noqa: ANN401
    if per == "frame" and pooling != "auto":
        return
    task = make(metadata(per=per), encoder=encoder, pooling=pooling)
    videos = [video(length) for length in LENGTHS]
    for size in (5, 64):
        for own, found in zip(videos, task.predict(videos, size), strict=True):
            with torch.no_grad():
                outputs = task(torch.from_numpy(own)[None, :, None], torch.tensor([len(own)]))
            expected = outputs.softmax(-1).view(-1, 3)
            found = found if per == "frame" else [found]
            np.testing.assert_allclose(probabilities(found), expected, rtol=1e-4, atol=1e-5)
    assert task.predict([]) == []


def test_frames_are_standardized_and_averaged() -> None:
    class Same(torch.nn.Module):
        output_size = stride = 1

        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return frames

    task = make(frames=lambda channels: Same())
    found = task.features(
        torch.tensor([0, 200]).repeat(40).view(1, 1, 1, 8, 10).byte(), torch.ones(1)
    )
    assert found.tolist() == [[[0.0]]]  # the mean of (0 - 100) / 50 and (200 - 100) / 50
    brighter = task.features(torch.full((1, 1, 1, 8, 10), 175).byte(), torch.ones(1))
    assert brighter.tolist() == [[[1.5]]]


@pytest.mark.parametrize("per", ["frame", "clip"])
def test_videos_come_in_many_forms(per: str) -> None:
    task = make(metadata(per=per))
    gray = video(6)
    expected = task.predict(gray)
    for other in (torch.from_numpy(gray), gray[..., None], [gray], np.stack([gray] * 3, -1)):
        assert_same(task.predict(other), expected)
    large = gray.repeat(3, 1).repeat(3, 2)
    assert len(task.predict([large, gray])) == 2
    color = make(metadata(per=per, color=True))
    assert_same(color.predict(gray), color.predict(np.stack([gray] * 3, -1)))


def test_every_nth_frame_is_read() -> None:
    task = make(metadata(step=3))
    whole = make(metadata())
    whole.load_state_dict(task.state_dict())
    for length in (1, 3, 4, 10):
        own = video(length)
        for size in (1, 2, 64):
            assert_same(task.predict(own, size), whole.predict(own[::3]))


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (np.zeros((2, 8)), r"got float64 of shape \(2, 8\)"),
        (np.zeros((2, 8, 9), np.float32), r"got float32 of shape \(2, 8, 9\)"),
        (
            np.zeros((2, 8, 9, 2), np.uint8),
            r"got uint8 of shape \(2, 8, 9, 2\)",
        ),
        (7, "expected a path, or frames as an array or tensor, got int"),
        (np.zeros((0, 8, 9), np.uint8), r"expected at least one frame, got the shape \(0, 8, 9\)"),
    ],
)
def test_what_cannot_be_read_is_refused(one: Any, says: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=says) as error:
        make().predict([video(2), one])
    assert str(error.value).startswith("inputs[1]: ")


def test_a_piece_has_at_least_one_frame() -> None:
    with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
        make().predict(video(2), 0)


def test_long_videos_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Spied(ResNet):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            seen.append(len(frames))
            return super().forward(frames)

    task = make(frames=partial(Spied, width=4, blocks=(1,)))
    own = video(23)
    expected = task.predict(own)
    monkeypatch.setattr(module, "_PIECE", 4)
    with torch.no_grad():
        outputs = task(torch.from_numpy(own)[None, :, None], torch.tensor([23]))
    assert seen == [23, 4, 4, 4, 4, 4, 3]
    np.testing.assert_allclose(probabilities(expected[0]), outputs[0].softmax(-1), rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_of_other_precisions_predict(dtype: torch.dtype) -> None:
    for per in ("frame", "clip"):
        task = make(metadata(per=per))
        expected = task.predict(video(9))
        assert_same(task.to(dtype).predict(video(9)), expected, atol=0.05)


def test_numbers_have_the_units_of_the_data() -> None:
    task = make(metadata("numbers", "clip"))
    torch.nn.init.zeros_(task.head.weight)
    task.head.bias.data = torch.tensor([1.0, -2.0, 0.5])
    (answer,) = task.predict(video(4))
    assert answer.values == [1.0, 80.0, 6.0]  # mean + output * standard deviation


@pytest.mark.parametrize("segment_length", [None, 3])
def test_a_checkpoint_is_all_one_needs(tmp_path: Path, segment_length: int | None) -> None:
    data = VideoPredictionData(
        tools(), height=8, width=8, segment_length=segment_length, batch_size=2
    )
    task = VideoPrediction(RESNET, encoder=ONLINE["SRU"])
    trainer = quiet(tmp_path)
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    loaded = load(tmp_path / "x.ckpt", frames=RESNET, encoder=ONLINE["SRU"])
    assert loaded.metadata is not None
    assert loaded.metadata["target"]["names"] == ["disk", "triangle", "cross"]
    own: Any = video(7, 32, 32)
    assert loaded.predict(own) == task.predict(own)


def test_segments_continue_where_the_last_one_ended(tmp_path: Path) -> None:
    found = {}
    for segment_length in (None, 3):
        torch.manual_seed(0)
        data = VideoPredictionData(tools(), height=8, width=8, segment_length=segment_length)
        data.setup()
        task = make(data.metadata)
        trainer = quiet(tmp_path)
        (found[segment_length],) = trainer.validate(task, data, verbose=False)
    for name, value in found[None].items():
        assert found[3][name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("encoder", OFFLINE.values(), ids=OFFLINE)
def test_segments_need_an_online_encoder(tmp_path: Path, encoder: Any) -> None:  # noqa: ANN401
    data = VideoPredictionData(tools(), height=8, width=8, segment_length=3)
    task = VideoPrediction(RESNET, encoder=encoder)
    with pytest.raises(InputError, match=r"--data\.segment_length needs a recurrent encoder"):
        quiet(tmp_path).fit(task, data)


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("frames", None, "frames must be of type dict"),
        ("frames.height", -1, r"frames\.height must be at least 0, got -1"),
        ("frames.height", 0, r"frames\.height in the metadata must be 1 to \d+, got 0"),
        ("frames.width", 10**9, r"frames\.width in the metadata must be 1 to \d+, got 1000000000"),
        ("frames.step", 0, r"frames\.step in the metadata must be at least 1, got 0"),
        ("frames.color", True, r"frames\.mean in the metadata must be one finite number per chann"),
        ("frames.mean", [float("nan")], r"one finite number per channel \(1\), got \[nan\]"),
        ("frames.std", [0.0], r"frames\.std in the metadata must be one finite number above 0"),
        ("frames.std", ["a"], r"frames\.std\[0\] must be of type float, got str"),
        ("per", "step", "per in the metadata must be clip or frame, got 'step'"),
        ("target.kind", "points", r"kind must be class, labels, numbers, got 'points'"),
        ("target.names", [*"abcd"], "counts must have one item per name"),
    ],
)
def test_metadata_of_others_are_checked(part: str, value: Any, says: str) -> None:  # noqa: ANN401
    task = VideoPrediction(RESNET)
    data = metadata()
    *folders, name = part.split(".")
    place: Any = data
    for folder in folders:
        place = place[folder]
    place[name] = value
    with pytest.raises(InputError, match=says):
        task._build_from_file(data)
