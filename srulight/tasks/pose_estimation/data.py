"""The data module of pose estimation."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srulight.runtime.errors import InputError, listed
from srulight.tasks.pose_estimation.corpora.synthetic_poses import SyntheticPoses
from srulight.tasks.pose_estimation.units import Unit, check_unit, measure_unit
from srulight.video.augmentation import Augmentation
from srulight.video.corpus import VideoCorpus, Videos
from srulight.video.data import VideoData


class PoseEstimationData(VideoData):
    """Videos with key points at each frame.

    Before training, srulight decodes the videos, resizes their frames, keeps them in SRULIGHT_CACHE
    (``~/.cache/srulight`` by default), and maps them into memory. It decodes a new video file
    twice: first to count the frames, and then to store them.

    The metadata contain ``frames`` (as ``srulight.video.data.FRAMES`` describes) and ``points``:
    their ``names``, the ``pairs`` of indices that a mirror image exchanges, and the ``unit`` of
    the PCK, which is "box" or a length in pixels of the video.

    Args:
        corpus: Corpus that provides the videos; if None, generated videos, which need no files.
        root: Folder that contains the files of the corpus.
        download: Whether to download missing files, for corpora that support it.
        height: Height that frames are resized to, in pixels.
        width: Width that frames are resized to, in pixels.
        color: Whether the model reads frames in color (RGB), or in gray.
        frame_step: Distance of the frames that the model reads, in frames of the video; 1 for all
            frames.
        clip_length: Number of frames per training clip: longer clips are divided, so that batches
            contain different parts of a long video. If None, training clips remain whole.
        segment_length: Number of frames per batch, for long clips. The state of the encoder carries
            over to the next batch, but gradients do not. If None, each batch contains whole clips.
        batch_size: Maximum number of training clips per batch on each process.
        eval_batch_size: Maximum number of validation or test clips per batch on each process.
        num_workers: Number of processes that prepare batches, and number of videos that are decoded
            at the same time before training; 0 does both in the main process.
        seed: Seed for the order of the batches, and for the augmentation.
        augmentation: Random changes of the training clips.
        pck_unit: Length of the body, by which the errors of key points are judged: "box" for the
            larger side of the box around the known points of each frame; two names of key points,
            for their mean distance in the training data; or a length in pixels of the video.
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
        pck_unit: Unit = "box",
    ) -> None:
        super().__init__(
            corpus or SyntheticPoses(), root, download, height, width, color, frame_step,
            clip_length, segment_length, batch_size, eval_batch_size, num_workers, seed,
            augmentation,
        )  # fmt: skip
        if self.corpus.kind != "points":
            raise InputError(
                f"corpus must have key points, got one of {self.corpus.kind}; use "
                "--data=VideoPredictionData with --model=VideoPrediction"
            )
        check_unit(pck_unit)
        self.pck_unit = pck_unit

    def check(self, videos: Videos) -> None:
        names = self._metadata["points"]["names"] if self._metadata else videos.names
        if list(names) != list(videos.names):
            raise InputError(
                f"the key points must be those of the checkpoint ({listed(names)}), got "
                f"{listed(list(videos.names))}; use data with the same key points, or train a new "
                "model"
            )

    def describe(self, videos: Videos) -> dict[str, Any]:
        if not any(np.isfinite(clip.targets).all(-1).any() for clip in videos.train):
            raise InputError(
                "expected training frames with key points, got none; fill in the tables, or choose "
                "other clips"
            )
        return {
            "points": {
                "names": list(videos.names),
                "pairs": [list(pair) for pair in videos.pairs],
                "unit": measure_unit(self.pck_unit, videos.train, videos.names),
            }
        }

    def encode(self, targets: NDArray[Any], scale: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(targets, dtype=np.float32)) / scale
