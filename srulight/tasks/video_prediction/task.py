"""The model of video prediction."""

from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, Literal, get_args

import torch
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from srulight.encoders import SRU, EncoderFactory, Recurrent
from srulight.encoders.base import build_encoder, directions
from srulight.layers.dropout import Dropout
from srulight.layers.pooling import Pooling, pool
from srulight.runtime.errors import InputError
from srulight.targets import LossSettings
from srulight.targets.build import KNOWS
from srulight.tasks.base import Stage
from srulight.tasks.compiling import compile_function
from srulight.tasks.segment_task import SegmentTask
from srulight.tasks.target_task import TargetTask
from srulight.tasks.video_prediction.predict import VideoPredictor
from srulight.training.resume.lightning_internals import trainer_of
from srulight.video.batch import ClipBatch
from srulight.video.corpus import Per
from srulight.video.data import FRAMES, check_frames
from srulight.video.features import FrozenEncoder, evaluating, weights_key
from srulight.video.frame_encoders import FrameEncoderFactory, ResNet, encode_frames, frame_maps
from srulight.video.frame_encoders.weights import load_frame_weights
from srulight.video.inputs import as_videos, pieces_of
from srulight.video.sources import VideoSource
from srulight.video.standardization import Standardization

_PIECE = 256  # Frames that are encoded together where no gradients are needed.


class VideoPrediction(SegmentTask, TargetTask):
    """Predicts one class, several labels or numbers for videos, or for their frames.

    A frame encoder maps each frame to features, which are averaged over the frame. An encoder reads
    the features of all frames, and the target is predicted from each encoded frame, or from all of
    them pooled into one vector. A recurrent encoder in one direction predicts online, from the
    frames so far; a bidirectional one and a CNN also read later frames.

    Args:
        frames: Builds the frame encoder; a small ResNet if None.
        frame_weights: Path of pretrained weights of the frame encoder, which a new model starts
            from: a .safetensors file, a state dict of torch (.pt, .pth), or a checkpoint of
            srulight (.ckpt), whose frame encoder is taken. The weights of a ResNet have the names
            that torchvision uses.
        freeze_frames: Whether to leave the weights of the frame encoder as they are. Its features
            are then computed once for all epochs, and kept in SRULIGHT_CACHE.
        dropout: Probability of zeroing a feature of a frame, or of the encoder's output, during
            training, 0 to 1. Encoders have their own dropout.
        pooling: How to pool the encoder's output if each clip has a target: "last" takes the last
            frame of each direction, "mean" and "max" reduce over all frames, and "auto" means
            "last" for recurrent encoders and "max" for all others.
        encoder: Builds the encoder of the frames' features; an SRU with 2 layers of 128 units if
            None. To read clips in segments, it must be recurrent and not bidirectional.
        loss: The loss that training minimizes.
        monitor: Validation metric that selects the best checkpoint, such as "val/macro_f1"; if
            None, val/accuracy for classes, val/average_precision for labels and val/mae for
            numbers.
        optimizer: Builds the optimizer from the parameters; Adam with a learning rate of 0.001 if
            None.
        scheduler: Builds the learning-rate schedule from the optimizer. It is stepped after every
            batch (lightning.pytorch.cli.ReduceLROnPlateau: after every epoch). The learning rate is
            constant if None.
        compile: Whether to run training and evaluation through ``torch.compile``, which needs a C++
            compiler on a CPU. Compilation takes about a minute during the first steps, or a few
            seconds if torch has cached the result. LSTM and GRU encoders are not compiled.
    """

    predictor = VideoPredictor
    knows = {"frames": FRAMES, "target": KNOWS, "per": str}  # noqa: RUF012

    def __init__(
        self,
        frames: FrameEncoderFactory | None = None,
        frame_weights: str | None = None,
        freeze_frames: bool = False,
        dropout: float = 0.2,
        pooling: Pooling = "auto",
        encoder: EncoderFactory | None = None,
        loss: LossSettings = LossSettings(),
        monitor: str | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.frames_factory = frames or ResNet
        self.frame_weights = frame_weights
        self.freeze_frames = freeze_frames
        self.pooling: Pooling = pooling
        self.encoder_factory = encoder or (lambda size: SRU(size, dropout=0.2))
        self.loss_settings = loss
        self.chosen_monitor = monitor
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.compiled = compile
        self.dropout = Dropout(dropout)

    def build_network(self, metadata: dict[str, Any]) -> None:
        if metadata["per"] not in get_args(Per):
            raise InputError(
                f"per in the metadata must be {' or '.join(get_args(Per))}, got "
                f"{metadata['per']!r:.60}"
            )
        self.per_frame = metadata["per"] == "frame"
        check_frames(metadata)
        self.standardize = Standardization(metadata["frames"])
        self.frame_encoder = self.frames_factory(self.standardize.channels)
        if self.freeze_frames:
            self.frame_encoder.requires_grad_(False)
        self.encoder = build_encoder(self.encoder_factory, self.frame_encoder.output_size)
        self.head = nn.Linear(self.encoder.output_size, self.build_target(metadata).output_size)

    def load_pretrained_embeddings(self, data: LightningDataModule) -> None:
        # A model that resumes has the weights of its checkpoint, which names a file of its own.
        if self.frame_weights is not None and self.resumed is None:
            load_frame_weights(self.frame_encoder, self.frame_weights)

    def check(self, data: LightningDataModule) -> None:
        if getattr(data, "segment_length", None) is not None and not self.is_online:
            raise InputError(
                "--data.segment_length needs a recurrent encoder that is not bidirectional, got "
                f"{type(self.encoder).__name__}; remove the option to read whole clips, or "
                "choose another encoder"
            )

    @property
    def is_online(self) -> bool:
        """Whether the encoder predicts from the frames so far, with a state that it carries."""
        return directions(self.encoder) == 1

    @property
    def frozen_encoder(self) -> FrozenEncoder | None:
        """The frame encoder, for computing features of frames once; None if it is trained."""
        if not self.freeze_frames:
            return None
        trainer = trainer_of(self)
        precision = "32-true" if trainer is None else trainer.precision
        about = self.check_trained()["frames"]
        key = [weights_key(self.frame_encoder), about["mean"], about["std"], precision]
        return FrozenEncoder(key, self._features_once)

    @torch.no_grad()
    def _features_once(self, frames: Tensor) -> Tensor:
        trainer = trainer_of(self)
        assert trainer is not None
        with trainer.precision_plugin.forward_context():
            return self._encode(frames.to(self.device))

    def compile_network(self) -> None:
        self._average = compile_function(self._average)  # type: ignore[method-assign]
        self._decode = compile_function(self._decode)  # type: ignore[method-assign]
        self._next = compile_function(self._next)  # type: ignore[method-assign]

    def _average(self, frames: Tensor) -> Tensor:
        """Encodes frames, (N, C, H, W) uint8, and averages over each of them, (N, F)."""
        return frame_maps(self.frame_encoder, self.standardize(frames)).mean((2, 3))

    def _encode(self, frames: Tensor) -> Tensor:
        """Does the same in pieces that fit into memory, unless gradients are needed."""
        if torch.is_grad_enabled() and not self.freeze_frames:
            return self._average(frames)
        # A frozen encoder uses its running statistics while the rest is trained.
        with torch.no_grad(), evaluating(self.frame_encoder, self.freeze_frames):
            return torch.cat([self._average(piece) for piece in frames.split(_PIECE)])

    def features(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Computes the features of frames.

        Args:
            frames: Frames, (B, T, C, H, W) uint8; or features, (B, T, F), which are returned.
            lengths: Number of frames of each clip without padding, (B,) int64.

        Returns:
            Features, (B, T, F), zeros at padded frames.
        """
        if frames.dim() == 3:
            return frames.to(self.head.bias.dtype)
        return encode_frames(self._encode, frames, lengths)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Computes the outputs from which the target is predicted.

        Args:
            frames: Frames or features, as for ``features``.
            lengths: Number of frames of each clip without padding, (B,) int64.

        Returns:
            Outputs, (B, K), or (B, T, K) if each frame has a target: the logits of the classes or
            labels, or standardized numbers.
        """
        return self._decode(self.features(frames, lengths), lengths)

    def _decode(self, features: Tensor, lengths: Tensor) -> Tensor:
        encoded = self.encoder(self.dropout(features), lengths)
        if not self.per_frame:
            encoded = pool(encoded, lengths, self.pooling, directions(self.encoder))
        return self.head(self.dropout(encoded))

    def _next(self, features: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Computes the outputs of the next frames, (B, T, K), and the state after them."""
        assert isinstance(self.encoder, Recurrent)
        encoded, state = self.encoder.forward_with_state(self.dropout(features), state)
        return self.head(self.dropout(encoded)), state.detach()

    def outputs(self, batch: ClipBatch, stage: Stage | Literal["train"]) -> Tensor:
        if not batch.is_segment:
            return self(batch.frames, batch.lengths)
        features = self.features(batch.frames, batch.lengths)
        return self.carry(batch, stage, partial(self._next, features))

    @torch.no_grad()
    def predict(self, inputs: Any, batch_size: int = 64) -> list[Any]:  # noqa: ANN401
        """Predicts from videos.

        Args:
            inputs: One video, or a list of them. A video is a path of a video file or of a folder
                of images, an array or tensor of frames, (T, H, W) or (T, H, W, C) uint8, gray or in
                RGB, or a ``VideoSource``. Frames are resized like those of training.
            batch_size: Number of frames that are read at a time. Only their features are kept.

        Returns:
            For each video the answer, a named tuple, or a list of answers, one per frame that the
            model reads: every n-th frame of the video, where n is ``frame_step`` of the training
            data.

        Raises:
            InputError: If a video cannot be read, or ``batch_size`` is below 1.
        """
        self.begin_predicting(batch_size)
        return [self.predict_video(video, batch_size) for video in as_videos(inputs)]

    def predict_video(self, video: VideoSource, batch_size: int) -> Any:  # noqa: ANN401
        """Predicts from a video, as ``predict`` does.

        Args:
            video: The video.
            batch_size: As for ``predict``.
        """
        answers = self.answers_of(video, batch_size)
        return list(answers) if self.per_frame else next(answers)

    @torch.no_grad()
    def answers_of(self, video: VideoSource, batch_size: int) -> Iterator[Any]:
        """Predicts from a video, and forgets each answer, so that memory stays small.

        Args:
            video: The video.
            batch_size: As for ``predict``.

        Yields:
            The answer of each frame, or the only one.
        """
        metadata = self.begin_predicting(batch_size)
        pieces = (
            self._encode(piece.to(self.device)).unsqueeze(0)
            for piece in pieces_of(video, metadata["frames"], batch_size)
        )
        reads_on = self.is_online and (self.per_frame or self.pooling in ("auto", "last"))
        outputs = self._online(pieces) if reads_on else iter([self._whole(pieces)])
        if self.per_frame:
            yield from chain.from_iterable(map(self.target.answers, outputs))
        else:
            (last,) = deque(outputs, maxlen=1)
            yield self.target.answers(last[-1:])[0]

    def _whole(self, pieces: Iterator[Tensor]) -> Tensor:
        """Computes the outputs of a whole video, (T, K) or (1, K), from the features of pieces."""
        features = torch.cat(list(pieces), dim=1)
        lengths = torch.tensor([features.size(1)], device=self.device)
        outputs = self._decode(features, lengths)
        return outputs[0] if self.per_frame else outputs

    def _online(self, pieces: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yields the outputs of each piece of a video, (T, K)."""
        state = None
        for features in pieces:
            outputs, state = self._next(features, state)
            yield outputs[0]
