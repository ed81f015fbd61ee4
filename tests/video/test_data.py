"""The base class of data modules of videos."""

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.data import _set_sampler_epoch
from numpy.typing import NDArray
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.video import ArrayVideo
from srulight.video.augmentation import Augmentation
from srulight.video.corpus import Clip, Per, VideoCorpus, Videos
from srulight.video.data import VideoData

CHANGES = Augmentation(flip=True, shift=0.2, brightness=0.1)


class Noise(VideoCorpus):
    """Random frames: a training video that is divided into two clips, and one of validation."""

    def __init__(self, per: Per = "frame") -> None:
        self.kind = "labels"
        self.per = per
        self.reads = 0

    def read(self, root: Path) -> Videos:
        self.reads += 1
        rng = np.random.default_rng(0)
        video = ArrayVideo(rng.integers(0, 256, (30, 6, 8), dtype=np.uint8))
        labels = (np.arange(30) % 2).astype(np.float32)[:, None]

        def clip(first: int, length: int) -> Clip:
            own = labels[first : first + length] if self.per == "frame" else labels[first]
            return Clip(str(first), video, first, length, own)

        return Videos([clip(0, 12), clip(12, 9)], [clip(21, 9)], None, ["odd"])


class NoiseData(VideoData):
    """The data module of ``Noise``."""

    def describe(self, videos: Videos) -> dict[str, Any]:
        return {"names": list(videos.names)}

    def encode(self, targets: NDArray[Any], scale: Tensor) -> Tensor:
        return torch.from_numpy(targets)


def made(per: Per = "frame", **settings: Any) -> NoiseData:  # noqa: ANN401
    data = NoiseData(Noise(per), **{"height": 6, "width": 8, "batch_size": 2, **settings})
    data.prepare()
    data.setup("fit")
    return data


def batches(data: NoiseData, epoch: int, start: int = 0) -> list[Any]:
    loader = data.train_dataloader()
    cast("Any", loader.batch_sampler).sampler.set_epoch(epoch)
    loader.start = start
    return list(loader)


def test_corpus_is_read_once_and_measured() -> None:
    data = made()
    assert cast("Noise", data.corpus).reads == 1
    frames = data.metadata["frames"]
    pixels = np.random.default_rng(0).integers(0, 256, (30, 6, 8), dtype=np.uint8)[:21]
    assert frames["mean"] == pytest.approx([pixels.mean()])
    assert frames["std"] == pytest.approx([pixels.std()])
    assert not frames["color"]


def test_a_sample_of_many_frames_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srulight.video.data._MEASURED", 3)
    frames = made().metadata["frames"]
    pixels = np.random.default_rng(0).integers(0, 256, (30, 6, 8), dtype=np.uint8)
    assert frames["mean"] == pytest.approx([pixels[[0, 7, 14]].mean()])


def test_clips_without_a_key_are_told_apart() -> None:
    first, second = cast("Any", made().datasets["train"]).clips
    assert first.origin.key[0] != second.origin.key[0]


def test_steps_and_clip_length() -> None:
    data = made(frame_step=2, clip_length=4)
    # 6 and 5 frames, in clips of at most 4.
    assert data.datasets["train"].lengths.tolist() == [4, 2, 4, 1]
    assert data.datasets["val"].lengths.tolist() == [5]


@pytest.mark.parametrize("segment_length", [None, 5])
def test_augmentation_depends_on_the_epoch_alone(segment_length: int | None) -> None:
    settings: dict[str, Any] = {"segment_length": segment_length, "augmentation": CHANGES}
    data = made(**settings)
    plain = batches(made(segment_length=segment_length), 1)
    first, second = batches(data, 0), batches(data, 1)
    assert not any(torch.equal(*pair) for pair in zip(
        [batch.frames for batch in second], [batch.frames for batch in plain], strict=True
    ))  # fmt: skip
    assert not torch.equal(first[0].frames, second[0].frames)
    # A new process that resumes in the second epoch, with or without workers, sees the same.
    for workers in (0, 1):
        resumed = batches(made(num_workers=workers, **settings), 1, start=len(second) - 1)
        assert len(resumed) == 1
        assert torch.equal(resumed[0].frames, second[-1].frames)
        assert torch.equal(resumed[0].lengths, second[-1].lengths)


def test_lightning_sets_the_epoch() -> None:
    loader = made(augmentation=CHANGES).train_dataloader()
    _set_sampler_epoch(loader, 3)
    assert [indices[0] for indices in cast("Any", loader.batch_sampler)] == [3]


def test_only_training_clips_change() -> None:
    (one,) = made(augmentation=CHANGES).val_dataloader()
    (other,) = made().val_dataloader()
    assert torch.equal(one.frames, other.frames)


def test_metadata_of_a_checkpoint() -> None:
    metadata = made().metadata
    data = NoiseData(Noise(), height=50, color=True)
    data.prepare()
    data.load_metadata(metadata)
    data.setup("test")
    assert (data.height, data.width, data.color) == (6, 8, False)
    (batch,) = data.val_dataloader()
    assert batch.frames.shape == (1, 9, 1, 6, 8)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("height", 0, "frames.height in the metadata must be 1 to 4096, got 0"),
        ("width", 1 << 20, "frames.width in the metadata must be 1 to 4096"),
        ("step", 0, "frames.step in the metadata must be at least 1"),
        ("color", 1, r"metadata.frames.color must be of type bool"),
        ("mean", [1.0, 2.0, 3.0], "frames.mean in the metadata must be one finite"),
        ("std", [0.0], "frames.std in the metadata must be one finite number above 0"),
        ("std", [float("nan")], "frames.std in the metadata must be one finite number above 0"),
    ],
)
def test_damaged_metadata_are_refused(name: str, value: Any, message: str) -> None:  # noqa: ANN401
    metadata = copy.deepcopy(made().metadata)
    metadata["frames"][name] = value
    with pytest.raises(InputError, match=message):
        NoiseData(Noise()).load_metadata(metadata)
    with pytest.raises(InputError, match="metadata lacks frames"):
        NoiseData(Noise()).load_metadata({"names": ["odd"]})
