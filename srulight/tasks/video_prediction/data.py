"""The data module of video prediction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srulight.data.base import Split
from srulight.data.resumable_loader import ResumableLoader
from srulight.runtime.errors import InputError
from srulight.targets import Kind
from srulight.targets.statistics import describe_target, standardize
from srulight.targets.summary import check_targets
from srulight.tasks.video_prediction.corpora.synthetic_tools import SyntheticTools
from srulight.video.augmentation import Augmentation
from srulight.video.corpus import Clip, VideoCorpus, Videos
from srulight.video.data import VideoData
from srulight.video.features import FrozenEncoder, with_features


class VideoPredictionData(VideoData):
    """Videos with a target each, or with a target at each frame.

    Before training, srulight decodes the videos, resizes their frames, keeps them in SRULIGHT_CACHE
    (``~/.cache/srulight`` by default), and maps them into memory. It decodes a new video file
    twice: first to count the frames, and then to store them. If the model freezes its frame
    encoder, the features of the frames are computed once for all epochs, and kept there, too.

    The metadata contain ``frames`` (as ``FRAMES`` describes), ``target`` (as
    ``targets.build.KNOWS`` describes) and ``per`` (clip or frame).

    Args:
        corpus: Corpus that provides the videos; if None, generated videos of tools, which need no
            files.
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
        augmentation: Random changes of the training clips. A frozen frame encoder allows none.
    """

    def __init__(
        self,
        corpus: VideoCorpus | None = None,
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
        super().__init__(
            corpus or SyntheticTools(), root, download, height, width, color, frame_step,
            clip_length, segment_length, batch_size, eval_batch_size, num_workers, seed,
            augmentation,
        )  # fmt: skip
        if self.corpus.kind == "points":
            raise InputError(
                "corpus must have classes, labels or numbers, got one of key points; use "
                "--data=PoseEstimationData with --model=PoseEstimation"
            )
        for name in ("clip_length", "segment_length"):
            if self.corpus.per == "clip" and getattr(self, name) is not None:
                raise InputError(
                    f"--data.{name} needs a target at each frame, got a corpus with one per clip; "
                    "remove the option"
                )

    @property
    def target_kind(self) -> Kind:
        """Kind of the targets."""
        assert self.corpus.kind != "points"
        return self.corpus.kind

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        trained = f"{metadata['target']['kind']} per {metadata['per']}"
        own = f"{self.target_kind} per {self.corpus.per}"
        if own != trained:
            raise InputError(
                f"the corpus must have the targets of the checkpoint ({trained}), got {own}; use "
                "a corpus with these targets, or train a new model"
            )
        super().load_metadata(metadata)

    def describe(self, videos: Videos) -> dict[str, Any]:
        targets = self._targets(videos.train)
        check_targets(self.target_kind, videos.names, targets, f"{self.corpus.per}s")
        target = describe_target(self.target_kind, videos.names, videos.columns, targets)
        return {"target": target, "per": self.corpus.per}

    def encode(self, targets: NDArray[Any], scale: Tensor) -> Tensor:
        return standardize(torch.from_numpy(targets), self._metadata["target"])

    def _targets(self, clips: Sequence[Clip]) -> Tensor:
        """Returns the targets of all clips, or of all their frames."""
        if self.corpus.per == "clip":
            return torch.from_numpy(np.stack([clip.targets for clip in clips]))
        found = [np.asarray(clip.targets)[:: self.frame_step] for clip in clips]
        return torch.from_numpy(np.concatenate(found))

    def check(self, videos: Videos) -> None:
        names = self._metadata["target"]["names"] if self._metadata else videos.names
        if list(names) != list(videos.names):
            raise InputError(
                f"the targets must be those of the checkpoint ({', '.join(names)}), got "
                f"{', '.join(videos.names)}; use data with the same targets, or train a new model"
            )

    def sharded(self, dataset: Any, split: Split) -> ResumableLoader[Any]:  # noqa: ANN401
        module = self.trainer.lightning_module if self.trainer else None
        frozen: FrozenEncoder | None = getattr(module, "frozen_encoder", None)
        if frozen is not None:
            if split == "train" and self.augmentation.changes:
                raise InputError(
                    "--data.augmentation must change nothing with --model.freeze_frames=true, "
                    "because the features of each frame are computed only once; remove one of the "
                    "two"
                )
            dataset = with_features(
                dataset, frozen, f"computing the features of {split}", *self.processes
            )
        return super().sharded(dataset, split)
