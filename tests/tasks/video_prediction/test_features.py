"""Features of a frozen frame encoder are computed once, and change nothing."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import Tensor

from srulight.ops import extension
from srulight.runtime.errors import InputError
from srulight.tasks.video_prediction import SyntheticTools, VideoPrediction, VideoPredictionData
from srulight.video import features
from srulight.video.frame_encoders import ResNet
from tests.tasks.video_prediction.models import ONLINE

RESNET = partial(ResNet, width=4, blocks=(1, 1), norm="batch")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extension.load("cpu")  # from the cache of kernels, before there is another
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of frames of each call of a frame encoder."""
    seen: list[int] = []
    forward = ResNet.forward

    def spy(self: ResNet, frames: Tensor) -> Tensor:
        seen.append(len(frames))
        return forward(self, frames)

    monkeypatch.setattr(ResNet, "forward", spy)
    return seen


def made(**options: Any) -> VideoPredictionData:  # noqa: ANN401
    corpus = SyntheticTools(train_size=5, val_size=2, test_size=2, frames=9, interval=3.0)
    return VideoPredictionData(corpus, height=8, width=8, batch_size=2, **options)


def trained(folder: Path, task: VideoPrediction, **options: Any) -> dict[str, Tensor]:  # noqa: ANN401
    torch.manual_seed(3)
    trainer = Trainer(
        accelerator="cpu", default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, max_epochs=2,
        num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(task, made(**options))
    return {**trainer.callback_metrics, **task.state_dict()}


def frozen() -> VideoPrediction:
    return VideoPrediction(RESNET, freeze_frames=True, encoder=ONLINE["SRU"])


@pytest.mark.parametrize(
    "options", [{}, {"segment_length": 4}, {"clip_length": 4, "frame_step": 2}], ids=str
)
def test_training_is_the_same(
    tmp_path: Path,
    encoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    found = trained(tmp_path, frozen(), **options)
    data = made(**options)
    data.setup()
    clips = {id(c.origin.key): c.origin for d in data.datasets.values() for c in d.clips}  # type: ignore[attr-defined]
    tested = {id(clip.origin.key) for clip in data.datasets["test"].clips}  # type: ignore[attr-defined]
    expected = sum(len(origin.frames) for key, origin in clips.items() if key not in tested)
    assert sum(encoded) == expected  # each training and validation frame once
    encoded.clear()
    again = trained(tmp_path, frozen(), **options)
    assert encoded == []
    with monkeypatch.context() as patch:
        patch.setattr(VideoPrediction, "frozen_encoder", None)
        plain = trained(tmp_path, frozen(), **options)
    assert encoded
    for name, value in found.items():
        assert torch.equal(again[name], value), name
        torch.testing.assert_close(plain[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_frozen_weights_and_statistics_stay(tmp_path: Path) -> None:
    found = trained(tmp_path, frozen())
    torch.manual_seed(3)
    fresh = frozen()
    data = made()
    data.setup()
    fresh.build(data.metadata)
    for name, weight in fresh.state_dict().items():
        if not name.startswith("target."):
            same = torch.equal(found[name], weight)
            assert same == name.startswith("frame_encoder."), name


def test_other_weights_and_videos_have_other_features(tmp_path: Path, encoded: list[int]) -> None:
    trained(tmp_path, frozen())
    encoded.clear()
    task = VideoPrediction(RESNET, freeze_frames=True, encoder=ONLINE["LSTM"])
    trained(tmp_path, task)
    assert encoded == []  # the encoder does not matter
    trained(tmp_path, VideoPrediction(partial(ResNet, width=8, blocks=(1,)), freeze_frames=True))
    assert encoded
    encoded.clear()
    trained(tmp_path, frozen(), frame_step=2)
    assert encoded


def test_several_processes_begin_with_other_clips(encoded: list[int]) -> None:
    data = made()
    data.setup()
    dataset: Any = data.datasets["train"]
    order: list[int] = []

    def encode(frames: Tensor) -> Tensor:
        order.append(len(frames))
        return frames.float().mean((2, 3))

    own = features.with_features(dataset, features.FrozenEncoder("x", encode), "", 1, 2)
    lengths = [len(clip.frames) for clip in dataset.clips]
    assert order == lengths[2:] + lengths[:2]
    other = features.with_features(dataset, features.FrozenEncoder("x", encode), "", 0, 2)
    assert len(order) == 5
    for i, clip in enumerate(dataset.clips):
        expected = clip.frames.float().mean((2, 3))
        for found in (own, other):
            assert torch.equal(found.clips[i].frames, expected)
            assert torch.equal(found.clips[i].targets, clip.targets)


def test_a_frozen_model_starts_from_the_weights_of_another(tmp_path: Path) -> None:
    first = VideoPrediction(RESNET, encoder=ONLINE["SRU"])
    trained(tmp_path, first)
    torch.save({"state_dict": first.state_dict()}, tmp_path / "first.ckpt")
    weights = str(tmp_path / "first.ckpt")
    second = VideoPrediction(RESNET, weights, True, encoder=ONLINE["LSTM"])
    found = trained(tmp_path, second)
    for name, weight in first.state_dict().items():
        if name.startswith("frame_encoder."):
            assert torch.equal(found[name], weight), name
    with pytest.raises(InputError, match=r"expected the 9 weights of the ResNet, got a file that"):
        trained(tmp_path, VideoPrediction(partial(ResNet, width=4, blocks=(1,)), weights))


def test_a_resumed_model_does_not_read_the_file(tmp_path: Path) -> None:
    task = VideoPrediction(RESNET, "nothing.pt", encoder=ONLINE["SRU"])
    task.resumed = {}
    task.load_pretrained_embeddings(made())
    task.resumed = None
    task.frame_encoder = RESNET(1)
    with pytest.raises(InputError, match=r"there is no file nothing\.pt"):
        task.load_pretrained_embeddings(made())
