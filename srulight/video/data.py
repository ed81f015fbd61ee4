"""The base class of data modules of videos."""

import hashlib
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor

from srulight.data.base import Split, TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.data.segments import segment_loader
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.structure import require
from srulight.video.augmentation import Augmentation
from srulight.video.corpus import Clip, VideoCorpus, Videos
from srulight.video.dataset import Augmenter, ClipDataset, Origin, StoredClip
from srulight.video.epochs import Epochs, EpochSampler
from srulight.video.frame_store import stored_frames
from srulight.video.notes import describe_videos
from srulight.video.sources import VideoSource

LARGEST_SIDE = 4096
"""Largest height and width that frames can be resized to, in pixels."""

FRAMES: dict[str, Any] = {
    "height": int, "width": int, "color": bool, "step": int, "mean": [float], "std": [float],
}  # fmt: skip
"""Structure of ``frames`` in the metadata, as ``structure.require`` takes it.

``height`` and ``width`` are those of the frames that the model reads, in pixels, ``color`` says
whether they are in RGB or gray, ``step`` is the distance of two frames in frames of the video, and
``mean`` and ``std`` are those of each channel, of pixels from 0 to 255.
"""

_MEASURED = 512  # Training frames that the mean and standard deviation are measured on.


def check_frames(metadata: dict[str, Any]) -> None:
    """Checks ``frames`` in the metadata of a checkpoint, which is not trusted.

    Args:
        metadata: Metadata of a model that reads frames.

    Raises:
        InputError: If ``frames`` is missing, or does not describe frames.
    """
    require(metadata, {"frames": FRAMES}, "metadata")
    frames = metadata["frames"]
    for name, most in {"height": LARGEST_SIDE, "width": LARGEST_SIDE, "step": math.inf}.items():
        check_range(1, most, **{f"frames.{name} in the metadata": frames[name]})
    channels = 3 if frames["color"] else 1
    for name in ("mean", "std"):
        found = frames[name]
        right = len(found) == channels and all(map(math.isfinite, found))
        if not right or (name == "std" and min(found) <= 0):
            what = "finite number" if name == "mean" else "finite number above 0"
            raise InputError(
                f"frames.{name} in the metadata must be one {what} per channel ({channels}), got "
                f"{found!r:.60}"
            )


class VideoData(TaskData):
    """Base class of the data modules of videos.

    Before training, srulight decodes the videos, resizes their frames, keeps them in SRULIGHT_CACHE
    (``~/.cache/srulight`` by default), and maps them into memory. It decodes a new video file
    twice: first to count the frames, and then to store them.

    The metadata contain ``frames`` (as ``FRAMES`` describes), besides what a subclass adds.

    Args:
        corpus: Corpus that provides the videos.
        root: Folder that contains the files of the corpus.
        download: Whether to download missing files, for corpora that support it.
        height: Height that frames are resized to, in pixels.
        width: Width that frames are resized to, in pixels.
        color: Whether the model reads frames in color (RGB), or in gray.
        frame_step: Distance of the frames that the model reads, in frames of the video; 1 for all
            frames.
        clip_length: Number of frames per training clip: longer clips are divided, so that batches
            contain different parts of a long video. If None, training clips remain whole.
        segment_length: Number of frames per batch, for long clips with a target at each frame. The
            state of the encoder carries over to the next batch, but gradients do not. If None, each
            batch contains whole clips.
        batch_size: Maximum number of training clips per batch on each process.
        eval_batch_size: Maximum number of validation or test clips per batch on each process.
        num_workers: Number of processes that prepare batches, and number of videos that are decoded
            at the same time before training; 0 does both in the main process.
        seed: Seed for the order of the batches, and for the augmentation.
        augmentation: Random changes of the training clips.
    """

    examples = "clips"
    corpus: VideoCorpus

    def __init__(
        self,
        corpus: VideoCorpus,
        root: str = ".",
        download: bool = False,
        height: int = 64,
        width: int = 64,
        color: bool = False,
        frame_step: int = 1,
        clip_length: int | None = None,
        segment_length: int | None = None,
        batch_size: int = 8,
        eval_batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 1,
        augmentation: Augmentation = Augmentation(),
    ) -> None:
        super().__init__(corpus, root, download, num_workers, seed, batch_size, eval_batch_size)
        check_range(1, LARGEST_SIDE, height=height, width=width)
        check_range(1, frame_step=frame_step)
        check_range(1, clip_length=clip_length, segment_length=segment_length)
        self.height = height
        self.width = width
        self.color = color
        self.frame_step = frame_step
        self.clip_length = clip_length
        self.segment_length = segment_length
        self.augmentation = augmentation
        self._read: tuple[Videos, dict[str, list[Tensor]]] | None = None
        self._decoded: dict[int, tuple[VideoSource, Tensor]] = {}

    @abstractmethod
    def describe(self, videos: Videos) -> dict[str, Any]:
        """Returns the metadata of a new model, without ``frames``.

        Args:
            videos: The contents of the corpus.

        Raises:
            InputError: If there is nothing to learn.
        """

    @abstractmethod
    def encode(self, targets: NDArray[Any], scale: Tensor) -> Tensor:
        """Returns the targets of a clip as ``ClipBatch`` has them. ``metadata`` is available.

        Args:
            targets: Targets of the clip.
            scale: Pixels of the video per pixel of the frames, along x and y, (2,).
        """

    def check(self, videos: Videos) -> None:
        """Compares the corpus with the metadata of a checkpoint, if there is one.

        Does nothing by default.

        Args:
            videos: The contents of the corpus.

        Raises:
            InputError: If the corpus does not match the checkpoint.
        """

    def notes(self, videos: Videos) -> Iterator[str]:
        """Yields lines about the data, to log before training.

        Args:
            videos: The contents of the corpus.
        """
        yield from describe_videos(videos, self.corpus.kind, self.corpus.per, self.frame_step)

    def prepare(self) -> None:
        self._load()

    def setup(self, stage: str | None = None) -> None:
        """Reads the corpus, and decodes videos that the cache does not have.

        Args:
            stage: "fit" also logs statistics of the data.

        Raises:
            InputError: If the corpus cannot be read, or does not match the checkpoint.
        """
        if self.datasets:
            return
        videos, frames = self._load()
        if not self._metadata:
            self._metadata = self.describe(videos) | {"frames": self._measure(frames["train"])}
        for name, part in videos.parts.items():
            clips = [self._stored(*pair) for pair in zip(part, frames[name], strict=True)]
            if name == "train" and self.clip_length is not None:
                clips = [piece for clip in clips for piece in self._pieces(clip)]
            if clips:
                augmenter = self._augmenter(videos) if name == "train" else None
                per_frame = self.corpus.per == "frame"
                self.datasets[name] = ClipDataset(clips, per_frame, augmenter)
        if stage == "fit":
            for line in self.notes(videos):
                rank_zero_info(line)
        self._read = None

    def _load(self) -> tuple[Videos, dict[str, list[Tensor]]]:
        if self._read is None:
            videos = self.corpus.read(self.root)
            self.check(videos)
            frames = {name: self._frames(part) for name, part in videos.parts.items()}
            self._read = videos, frames
            self._decoded.clear()
        return self._read

    def _frames(self, clips: Sequence[Clip]) -> list[Tensor]:
        """Returns the frames of each clip that the model reads."""
        new = {id(clip.video): clip.video for clip in clips}
        videos = [video for key, video in new.items() if key not in self._decoded]
        shape = (3 if self.color else 1, self.height, self.width)
        decoded = stored_frames(videos, shape, self.num_workers)
        for video, frames in zip(videos, decoded, strict=True):
            self._decoded[id(video)] = video, frames
        return [
            self._decoded[id(clip.video)][1][
                clip.first : clip.first + clip.length : self.frame_step
            ]
            for clip in clips
        ]

    def _augmenter(self, videos: Videos) -> Augmenter | None:
        if not self.augmentation.changes:
            return None
        pairs = videos.pairs if self.corpus.kind == "points" else None
        return Augmenter(self.augmentation, self.seed, pairs)

    def _stored(self, clip: Clip, frames: Tensor) -> StoredClip:
        scale = torch.tensor([clip.video.width / self.width, clip.video.height / self.height])
        step = self.frame_step if self.corpus.per == "frame" else None
        targets = clip.targets if step is None else clip.targets[::step]
        size = (self.height, self.width, self.color, self.frame_step)
        key = clip.video.key()
        if key is None:
            key = hashlib.sha256(frames.numpy().tobytes()).hexdigest()
        origin = Origin([key, clip.first, clip.length, *size], frames, 0)
        encoded = self.encode(np.asarray(targets), scale)
        return StoredClip(frames, encoded, scale, clip.name, origin)

    def _pieces(self, clip: StoredClip) -> list[StoredClip]:
        assert self.clip_length is not None
        pieces = []
        for first in range(0, len(clip.frames), self.clip_length):
            part = slice(first, first + self.clip_length)
            targets = clip.targets[part] if self.corpus.per == "frame" else clip.targets
            origin = clip.origin and clip.origin._replace(first=first)
            pieces.append(clip._replace(frames=clip.frames[part], targets=targets, origin=origin))
        return pieces

    def _measure(self, clips: Sequence[Tensor]) -> dict[str, Any]:
        """Returns ``frames`` of the metadata."""
        total = sum(map(len, clips))
        count = min(total, _MEASURED)
        wanted = iter([i * total // count for i in range(count)] + [total])
        start, index = 0, next(wanted)
        sums = torch.zeros(2, 3 if self.color else 1, dtype=torch.float64)
        for clip in clips:
            while index < start + len(clip):
                frame = clip[index - start].double()
                sums += torch.stack([frame.mean((1, 2)), frame.square().mean((1, 2))])
                index = next(wanted)
            start += len(clip)
        mean, squares = sums / count
        std = (squares - mean.square()).clamp_min(0).sqrt()
        return {
            "height": self.height, "width": self.width, "color": self.color,
            "step": self.frame_step, "mean": mean.tolist(),
            "std": std.where(std > 0, 1).tolist(),
        }  # fmt: skip

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        check_frames(metadata)
        super().load_metadata(metadata)
        frames = metadata["frames"]
        self.height, self.width = frames["height"], frames["width"]
        self.color, self.frame_step = frames["color"], frames["step"]
        self._read = None  # Frames that were read before may have another size.

    def sharded(self, dataset: Any, split: Split) -> ResumableLoader[Any]:  # noqa: ANN401
        if self.segment_length is None:
            loader = super().sharded(dataset, split)
        else:
            loader = segment_loader(self, dataset, split, self.segment_length)
        if split != "train" or dataset.augmenter is None:
            return loader
        batches: Any = loader.batch_sampler
        sampler = EpochSampler(batches.sampler)
        clips: Epochs[Any] = Epochs(loader.dataset, dataset)
        return ResumableLoader(clips, sampler, self.num_workers, self.seed)
