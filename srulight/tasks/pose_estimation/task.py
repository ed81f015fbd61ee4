"""The model of pose estimation."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from srulight.encoders import ConvSRU
from srulight.runtime.errors import InputError, check_range
from srulight.targets.report import Report
from srulight.tasks.base import Stage
from srulight.tasks.pose_estimation.heads import HeadFactory, HeadSizes, HeatMapHead
from srulight.tasks.pose_estimation.heads.base import Points
from srulight.tasks.pose_estimation.metrics import PointErrors
from srulight.tasks.pose_estimation.predict import PosePredictor
from srulight.tasks.pose_estimation.units import body_lengths, check_points
from srulight.tasks.segment_task import SegmentTask
from srulight.video.batch import ClipBatch
from srulight.video.data import FRAMES, check_frames
from srulight.video.frame_encoders import (
    FrameEncoder,
    FrameEncoderFactory,
    ResNet,
    encode_frames,
    frame_maps,
)
from srulight.video.frame_encoders.weights import load_frame_weights
from srulight.video.inputs import as_videos, pieces_of
from srulight.video.standardization import Standardization

_PIECE = 256  # Frames that are encoded together where no gradients are needed.


class Pose(NamedTuple):
    """The key points in a video.

    Attributes:
        frames: Indices of the frames that the model read, (T,) int64.
        points: x and y in pixels of the video, from its upper left corner, (T, K, 2) float32.
        scores: How sure the model is of each point, 0 to 1, (T, K) float32; NaN if the head of the
            model cannot say.
    """

    frames: NDArray[np.int64]
    points: NDArray[np.float32]
    scores: NDArray[np.float32]


class PoseEstimation(SegmentTask):
    """Estimates where the key points of a body are in each frame of a video.

    A frame encoder maps each frame to a map of features, and a head predicts the key points from
    the maps of the frames so far. Two metrics are logged: ``pck``, the share of the known points
    whose error is at most ``pck_threshold`` times the length of the body (``--data.pck_unit``), and
    ``mae``, the mean distance between the predicted and the true point, in pixels of the video.

    Args:
        frames: Builds the encoder of frames; if None, a ResNet whose stages have one block each and
            8, 16 and 32 channels, and whose maps have a stride of 4 pixels.
        frame_weights: Path of pretrained weights of the frame encoder, which a new model starts
            from: a .safetensors file, a state dict of torch (.pt, .pth), or a checkpoint of
            srulight (.ckpt), whose frame encoder is taken. The weights of a ResNet have the names
            that torchvision uses.
        head: Builds the head, HeatMapHead or RegressionHead; if None, a HeatMapHead with a ConvSRU.
        pck_threshold: Largest error of a correct point, as a share of the length of the body.
        optimizer: Builds the optimizer from the parameters; Adam with a learning rate of 0.001 if
            None.
        scheduler: Builds the learning-rate schedule from the optimizer. It is stepped after every
            batch (lightning.pytorch.cli.ReduceLROnPlateau: after every epoch). The learning rate is
            constant if None.
    """

    monitor = ("val/pck", "max")
    predictor = PosePredictor
    knows = {  # noqa: RUF012
        "frames": FRAMES,
        "points": {"names": [str], "pairs": [[int]], "unit": (float, int, str)},
    }

    def __init__(
        self,
        frames: FrameEncoderFactory | None = None,
        frame_weights: str | None = None,
        head: HeadFactory | None = None,
        pck_threshold: float = 0.2,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_range(0, pck_threshold=pck_threshold)
        self.frame_encoder_factory = frames or (
            lambda size: ResNet(size, width=8, blocks=(1, 1, 1))
        )
        self.frame_weights = frame_weights
        self.head_factory = head or (lambda sizes: HeatMapHead(sizes, ConvSRU))
        self.pck_threshold = pck_threshold
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler

    def build_network(self, metadata: dict[str, Any]) -> None:
        frames, points = metadata["frames"], metadata["points"]
        check_frames(metadata)
        check_points(points)
        self.names: list[str] = points["names"]
        self.unit: float | str = points["unit"]
        self.standardize = Standardization(frames)
        self.frame_encoder: FrameEncoder = self.frame_encoder_factory(self.standardize.channels)
        self.head = self.head_factory(
            HeadSizes(
                self.frame_encoder.output_size,
                len(self.names),
                frames["height"],
                frames["width"],
                self.frame_encoder.stride,
            )
        )

    def load_pretrained_embeddings(self, data: LightningDataModule) -> None:
        # A model that resumes has the weights of its checkpoint, which names a file of its own.
        if self.frame_weights is not None and self.resumed is None:
            load_frame_weights(self.frame_encoder, self.frame_weights)

    def check(self, data: LightningDataModule) -> None:
        if getattr(data, "segment_length", None) is not None and not self.head.is_online:
            raise InputError(
                "--data.segment_length needs a recurrent encoder that is not bidirectional; remove "
                "the option to read whole clips, or choose another encoder"
            )

    def maps(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Encodes frames.

        Args:
            frames: Frames, (B, T, C, H, W) uint8.
            lengths: Number of frames of each clip without padding, (B,) int64.

        Returns:
            Maps of features, (B, T, F, h, w), zeros at padded frames.
        """
        return encode_frames(self._encode, frames, lengths)

    def _encode(self, frames: Tensor) -> Tensor:
        """Encodes frames, (N, C, H, W) uint8, in pieces unless gradients are needed."""
        pieces = [frames] if torch.is_grad_enabled() else frames.split(_PIECE)
        return torch.cat([frame_maps(self.frame_encoder, self.standardize(x)) for x in pieces])

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Computes the outputs of the head for whole clips; see ``maps`` for the arguments."""
        outputs: Tensor = self.head(self.maps(frames, lengths), lengths)
        return outputs

    def _next(self, frames: Tensor, lengths: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Computes the outputs of the next frames, and the state after them."""
        outputs, after = self.head.forward_with_state(self.maps(frames, lengths), state)
        return outputs, after.detach()

    def outputs(self, batch: ClipBatch, stage: Stage | Literal["train"]) -> Tensor:
        """Computes the outputs of the head for a batch of clips, or of segments of clips."""
        if not batch.is_segment:
            return self(batch.frames, batch.lengths)
        return self.carry(batch, stage, partial(self._next, batch.frames, batch.lengths))

    def loss(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        return self.head.loss(self.outputs(batch, "train"), batch.targets)

    def new_metrics(self) -> dict[str, Metric]:
        return {"points": PointErrors(len(self.names), self.pck_threshold)}

    def measure(self, batch: ClipBatch, metrics: MetricCollection, stage: Stage) -> None:
        outputs = self.outputs(batch, stage)
        total, count = self.head.loss(outputs, batch.targets)
        metrics["loss"].update(total.double(), count)
        scales = batch.scales.double()[:, None, None]
        found = (self.head.decode(outputs).points.double() * scales).flatten(0, 1)
        true = (batch.targets.double() * scales).flatten(0, 1)
        metrics["points"].update(found, true, body_lengths(self.unit, true))

    def summarize(self, stage: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if stage == "train":
            return values
        sums = values["points"]
        known, distance, judged, correct = sums.cpu()
        pck, mae = correct / judged, distance / known
        rows: list[list[str | float]] = [
            [name, float(pck[i]), float(mae[i]), int(known[i])] for i, name in enumerate(self.names)
        ]
        self.report = Report(["point", "pck", "mae", "support"], rows)
        known, distance, judged, correct = sums.sum(1)
        others = {name: value for name, value in values.items() if name != "points"}
        return {"pck": correct / judged, "mae": distance / known, **others}

    @torch.no_grad()
    def predict(self, inputs: Any, batch_size: int = 64) -> list[Any]:  # noqa: ANN401
        """Finds the key points in videos.

        Args:
            inputs: One video, or a list of them: a path of a video file, of a folder of images or
                of a NumPy file; or frames, (T, H, W) or (T, H, W, C) uint8, in gray or RGB.
            batch_size: Number of frames that are read together. If the encoder is bidirectional,
                srulight reads whole videos.

        Returns:
            The ``Pose`` of each video.

        Raises:
            InputError: If a video cannot be read, or ``batch_size`` is below 1.
        """
        self.begin_predicting(batch_size)
        found = []
        for video in as_videos(inputs):
            pieces = list(self.predict_frames(video, batch_size))
            points, scores = (torch.cat(parts).cpu() for parts in zip(*pieces, strict=True))
            step = self.check_trained()["frames"]["step"]
            frames = np.arange(len(points), dtype=np.int64) * step
            found.append(Pose(frames, points.numpy(), scores.numpy()))
        return found

    @torch.no_grad()
    def predict_frames(self, video: Any, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:  # noqa: ANN401
        """Finds the key points in a video, piece by piece.

        Args:
            video: The video, a ``VideoSource``.
            batch_size: As for ``predict``.

        Yields:
            The points in pixels of the video, (T, K, 2) float32, and their scores, (T, K) float32.
        """
        about = self.begin_predicting(batch_size)["frames"]
        scale = torch.tensor([video.width / about["width"], video.height / about["height"]])
        scale = scale.to(self.device)
        state: Tensor | None = None
        size = batch_size if self.head.is_online else None
        for frames in pieces_of(video, about, size):
            piece = frames.to(self.device).unsqueeze(0)
            lengths = torch.tensor([piece.size(1)], device=self.device)
            if self.head.is_online:
                outputs, state = self._next(piece, lengths, state)
            else:
                outputs = self(piece, lengths)
            found: Points = self.head.decode(outputs)
            yield found.points[0] * scale, found.scores[0]
