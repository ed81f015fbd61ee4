"""The boosted model of video prediction."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Literal

import torch
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from srulight.encoders import SRU, EncoderFactory
from srulight.encoders.base import build_encoder, directions
from srulight.layers.masking import valid_steps
from srulight.runtime.errors import InputError, check_range
from srulight.targets import LossSettings
from srulight.targets.build import KNOWS
from srulight.tasks.base import Stage
from srulight.tasks.target_task import TargetTask
from srulight.tasks.video_prediction.committee import (
    FrameNetwork,
    Phase,
    SequenceNetwork,
    phases,
    weighted_sum,
)
from srulight.tasks.video_prediction.line_search import LineSearch, RunningScale
from srulight.tasks.video_prediction.predict import VideoPredictor
from srulight.training.resume.lightning_internals import trainer_of
from srulight.video.batch import ClipBatch
from srulight.video.data import FRAMES, check_frames
from srulight.video.frame_encoders import FrameEncoderFactory, ResNet, encode_frames
from srulight.video.frame_encoders.weights import load_frame_weights
from srulight.video.inputs import as_videos, pieces_of
from srulight.video.sources import VideoSource
from srulight.video.standardization import Standardization


class BoostedVideoPrediction(TargetTask):
    """Predicts labels for the frames of videos by boosted CNNs and RNNs.

    Al Hajj et al. (2018), Monitoring tool usage in surgery videos using boosted convolutional and
    recurrent neural networks, arXiv 1710.01559. Weak CNNs c_k read frames, and their weighted sum C
    = sum of alpha_k c_k gives an output per label. Weak RNNs r_j read the outputs of all frames,
    and R = sum of beta_j r_j gives the answer (before the sigmoid). CNNs and RNNs are trained in
    turn, and each later one corrects those before it:

    - c_1 and r_1 minimize the loss L of C and of R;
    - c_k is fitted, by least squares, to -dL/dC, where L is the loss of the whole system and is
      propagated back through all RNNs so far; a line search then chooses the alpha_k that
      minimizes L over the training data;
    - r_j is fitted to -dL/dR, which is y - sigmoid(R) for the cross-entropy, and beta_j is chosen
      in the same way.

    The training loss that is logged is that of the network that is being trained; while a weight is
    searched, it is that of the whole system before. Training ends when the last network has been
    trained, or when a network after c_1 and r_1 did not improve the validation score (``monitor``).

    Args:
        frames: Builds the frame encoder of each CNN; a small ResNet if None.
        frame_weights: Path of pretrained weights that the frame encoder of each CNN starts from, as
            for VideoPrediction.
        encoder: Builds the encoder of each RNN; an SRU with 2 layers of 64 units if None.
        cnns: Number of CNNs, at least 1.
        rnns: Number of RNNs, at least 1.
        network_epochs: Number of epochs for each of them, at least 2; in the last one, the weight
            of the network is searched. ``trainer.max_epochs`` should be at least (cnns + rnns) *
            network_epochs.
        loss: The loss L.
        monitor: Validation metric that selects the best checkpoint; val/roc_auc if None.
        optimizer: Builds the optimizer from the parameters; Adam with a learning rate of 0.001 if
            None.
        scheduler: Builds the learning-rate schedule from the optimizer. It is stepped after every
            batch (lightning.pytorch.cli.ReduceLROnPlateau: after every epoch). The learning rate is
            constant if None.
    """

    predictor = VideoPredictor
    knows = {"frames": FRAMES, "target": KNOWS, "per": str}  # noqa: RUF012
    per_frame = True

    alpha: Tensor
    beta: Tensor
    best_score: Tensor
    stopped: Tensor

    def __init__(
        self,
        frames: FrameEncoderFactory | None = None,
        frame_weights: str | None = None,
        encoder: EncoderFactory | None = None,
        cnns: int = 2,
        rnns: int = 2,
        network_epochs: int = 5,
        loss: LossSettings = LossSettings(),
        monitor: str | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_range(1, 100, cnns=cnns, rnns=rnns)
        check_range(2, network_epochs=network_epochs)
        self.frames_factory = frames or ResNet
        self.frame_weights = frame_weights
        self.encoder_factory = encoder or (lambda size: SRU(size, hidden_size=64))
        self.cnns, self.rnns, self.network_epochs = cnns, rnns, network_epochs
        self.loss_settings = loss
        self.chosen_monitor = monitor or "val/roc_auc"
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self._entered: Phase | None = None

    def build_network(self, metadata: dict[str, Any]) -> None:
        kind = metadata["target"].get("kind")
        if (kind, metadata["per"]) != ("labels", "frame"):
            raise InputError(
                f"BoostedVideoPrediction needs labels per frame, got {kind!r:.60} per "
                f"{metadata['per']!r:.60}; use VideoPrediction"
            )
        size = self.build_target(metadata).output_size
        check_frames(metadata)
        self.standardize = Standardization(metadata["frames"])
        channels = self.standardize.channels
        self.frame_networks = nn.ModuleList(
            FrameNetwork(self.frames_factory(channels), size) for _ in range(self.cnns)
        )
        self.sequence_networks = nn.ModuleList(
            SequenceNetwork(build_encoder(self.encoder_factory, size), size)
            for _ in range(self.rnns)
        )
        alpha = torch.zeros(self.cnns)
        alpha[0] = 1
        self.register_buffer("alpha", alpha)
        self.register_buffer("beta", torch.zeros(self.rnns))
        self.search = LineSearch()
        self.scale = RunningScale()
        self.register_buffer("best_score", torch.tensor(-torch.inf, dtype=torch.float64))
        self.register_buffer("stopped", torch.tensor(False))

    def load_pretrained_embeddings(self, data: LightningDataModule) -> None:
        if self.frame_weights is not None and self.resumed is None:
            for network in self.frame_networks:
                assert isinstance(network, FrameNetwork)
                load_frame_weights(network.frame_encoder, self.frame_weights)

    def check(self, data: LightningDataModule) -> None:
        if getattr(data, "segment_length", None) is not None:
            raise InputError(
                "BoostedVideoPrediction reads whole clips, got --data.segment_length="
                f"{data.segment_length}; set --data.clip_length instead"  # type: ignore[attr-defined]
            )
        trainer = trainer_of(self)
        if trainer is not None and trainer.world_size > 1:
            raise InputError(
                "BoostedVideoPrediction trains on one process, because different networks are "
                f"trained in turn, got {trainer.world_size}; set --trainer.devices=1"
            )
        if trainer is not None and trainer.precision in ("16-mixed", "16-true"):
            raise InputError(
                f"BoostedVideoPrediction cannot use --trainer.precision={trainer.precision}; set "
                "--trainer.precision=bf16-mixed"
            )

    @property
    def is_online(self) -> bool:
        """Whether the RNNs predict from the frames so far."""
        return all(directions(network.encoder) == 1 for network in self.sequence_networks)  # type: ignore[arg-type]

    def frame_outputs(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Computes the weighted sum C of the outputs of the CNNs.

        Args:
            frames: Frames, (B, T, C, H, W) uint8.
            lengths: Number of frames of each clip without padding, (B,) int64.

        Returns:
            Outputs, (B, T, K), zeros at padded frames.
        """
        return encode_frames(self._frame_sum, frames, lengths)

    def _frame_sum(self, frames: Tensor) -> Tensor:
        return weighted_sum(
            self.alpha, self.frame_networks, lambda cnn: cnn(self.standardize(frames))
        )

    def sequence_outputs(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Computes the weighted sum R of the outputs of the RNNs.

        Args:
            x: Outputs of the CNNs, (B, T, K).
            lengths: Number of frames of each clip without padding, (B,) int64.

        Returns:
            Outputs, (B, T, K): the logits of the labels; ``x`` if there is no trained RNN yet.
        """
        if not self.beta.any():
            return x
        return weighted_sum(self.beta, self.sequence_networks, lambda rnn: rnn(x, lengths))

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Computes the logits of the labels, (B, T, K), as ``VideoPrediction.forward`` does."""
        return self.sequence_outputs(self.frame_outputs(frames, lengths), lengths)

    def outputs(self, batch: ClipBatch, stage: Stage | Literal["train"]) -> Tensor:
        return self(batch.frames, batch.lengths)

    @property
    def phase(self) -> Phase | None:
        """What the current epoch trains; None after the last network."""
        order = phases(self.cnns, self.rnns, self.network_epochs)
        return order[self.current_epoch] if self.current_epoch < len(order) else None

    def _enter(self, phase: Phase) -> nn.Module:
        """Returns the network that is trained, which alone has gradients and is in training mode.

        All others, and this one while its weight is searched, are in evaluation mode.
        """
        networks = self.frame_networks if phase.kind == "cnn" else self.sequence_networks
        learner = networks[phase.number]
        if phase.kind == "rnn" and phase.number == 0:
            self.beta[0] = 1
        for network in chain(self.frame_networks, self.sequence_networks):
            is_trained = network is learner and not phase.is_search
            if network.training != is_trained:
                network.train(is_trained)
            if phase != self._entered:
                network.requires_grad_(is_trained)
        self._entered = phase
        return learner

    def loss(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        phase = self.phase
        if phase is None:
            raise InputError("all networks are trained already; raise --model.network_epochs")
        learner = self._enter(phase)
        with torch.no_grad():
            summed = self.frame_outputs(batch.frames, batch.lengths)
        if phase.is_search:
            total, count = self._try_steps(batch, phase, learner, summed)
            # The gradient reaches no parameter, so that no weight changes.
            return total + torch.zeros_like(total, requires_grad=True), count
        if phase.kind == "rnn":
            own = learner(summed, batch.lengths)
            if phase.number == 0:
                return self.target.loss(own, batch.targets)
            with torch.no_grad():
                before = self.sequence_outputs(summed, batch.lengths)
            return self._squared(own, self.descent(batch, before, lambda x: x), batch)
        own = encode_frames(lambda x: learner(self.standardize(x)), batch.frames, batch.lengths)
        if phase.number == 0:
            return self.target.loss(own, batch.targets)
        wanted = self.descent(batch, summed, lambda x: self.sequence_outputs(x, batch.lengths))
        return self._squared(own, wanted, batch)

    def descent(self, batch: ClipBatch, x: Tensor, rest: Callable[[Tensor], Tensor]) -> Tensor:
        """Computes how outputs should change so that the loss of the whole system falls.

        Args:
            batch: The batch.
            x: Outputs, (B, T, K).
            rest: Computes those of the whole system from them.

        Returns:
            The negative gradient of the sum of the losses by ``x``, (B, T, K).
        """
        # The kernels of cuDNN have no gradients in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            x = x.detach().requires_grad_()
            total, _ = self.target.loss(rest(x), batch.targets)
            (gradient,) = torch.autograd.grad(total, x)
        return -gradient

    def _squared(self, own: Tensor, wanted: Tensor, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Compares outputs with those wanted, which are divided by their root mean square.

        Gradients become small while the system improves, so that the networks would learn ever
        slower. The line search makes up for the scale.
        """
        valid = valid_steps(batch.lengths, own.size(1)).unsqueeze(-1).expand_as(own)
        count = valid.sum()
        errors = (own - wanted / self.scale(wanted, count)).square()
        return errors.where(valid, 0).sum(), count

    @torch.no_grad()
    def _try_steps(
        self, batch: ClipBatch, phase: Phase, learner: nn.Module, summed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Adds up the losses of the whole system for each weight that the network may get."""
        if phase.kind == "cnn":
            frames = batch.frames
            own = encode_frames(lambda x: learner(self.standardize(x)), frames, batch.lengths)
        else:
            own = learner(summed, batch.lengths)
            before = self.sequence_outputs(summed, batch.lengths)

        def loss(step: float) -> tuple[Tensor, Tensor]:
            if phase.kind == "rnn":
                return self.target.loss(before + step * own, batch.targets)
            outputs = self.sequence_outputs(summed + step * own, batch.lengths)
            return self.target.loss(outputs, batch.targets)

        found: tuple[Tensor, Tensor] = self.search(loss)
        return found

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        phase = self.phase
        if phase is None or not phase.is_last or not self.trainer.is_last_batch:
            return
        if phase.is_search:
            weights = self.alpha if phase.kind == "cnn" else self.beta
            weights[phase.number] = self.search.best
        self.search.reset()
        self.scale.reset()

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        trainer = self.trainer
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        phase = self.phase
        if phase is None or not phase.is_last or not trainer.is_last_batch:
            return
        name, mode = self.monitored(trainer.datamodule)  # type: ignore[attr-defined]
        score = trainer.callback_metrics[name].double() * (1 if mode == "max" else -1)
        is_done = self.current_epoch + 1 >= len(phases(self.cnns, self.rnns, self.network_epochs))
        is_first = phase.number == 0  # the first CNN and the first RNN are the system to improve
        if is_done or not (is_first or self._improves(score)):
            self.stopped.fill_(True)
            trainer.should_stop = True
        score = score.nan_to_num(-torch.inf)
        self.best_score.copy_(score if is_first else torch.maximum(score, self.best_score))

    def _improves(self, score: Tensor) -> bool:
        # The score of an early network may be undefined.
        return bool(score > self.best_score) or bool(score.isnan())

    def on_train_start(self) -> None:
        super().on_train_start()
        if self.stopped:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> OptimizerLRScheduler:
        # The optimizer leaves out parameters without gradients, and an earlier training may have
        # left some without.
        self.requires_grad_(True).train()
        self._entered = None
        return super().configure_optimizers()

    @torch.no_grad()
    def predict(self, inputs: Any, batch_size: int = 64) -> list[Any]:  # noqa: ANN401
        """Predicts from videos, as ``VideoPrediction.predict`` does."""
        self.begin_predicting(batch_size)
        return [self.predict_video(video, batch_size) for video in as_videos(inputs)]

    def predict_video(self, video: VideoSource, batch_size: int) -> list[Any]:
        """Predicts from a video, as ``predict`` does.

        Args:
            video: The video.
            batch_size: As for ``predict``.
        """
        return list(self.answers_of(video, batch_size))

    @torch.no_grad()
    def answers_of(self, video: VideoSource, batch_size: int) -> Iterator[Any]:
        """Predicts from a video, and yields the answer of each frame, as ``VideoPrediction`` does.

        Args:
            video: The video.
            batch_size: As for ``predict``.
        """
        metadata = self.begin_predicting(batch_size)
        pieces = (
            self._frame_sum(piece.to(self.device)).unsqueeze(0)
            for piece in pieces_of(video, metadata["frames"], batch_size)
        )
        if self.is_online:
            outputs = self._online(pieces)
        else:
            summed = torch.cat(list(pieces), dim=1)
            lengths = torch.tensor([summed.size(1)], device=self.device)
            outputs = iter([self.sequence_outputs(summed, lengths)[0]])
        yield from chain.from_iterable(map(self.target.answers, outputs))

    def _online(self, pieces: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yields the logits of each piece of a video, (T, K)."""
        states: dict[nn.Module, Tensor | None] = {}

        def read_on(x: Tensor, rnn: Any) -> Tensor:  # noqa: ANN401
            outputs, states[rnn] = rnn.forward_with_state(x, states.get(rnn))
            return outputs

        for x in pieces:
            if not self.beta.any():
                yield x[0]
            else:
                read = partial(read_on, x)
                yield weighted_sum(self.beta, self.sequence_networks, read)[0]
