"""The base class of all tasks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Literal, NoReturn, Self, final

import torch
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from srulight.quantization.stored import Settings, restore_structure
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.files import well_formed
from srulight.runtime.structure import require
from srulight.targets.report import Report
from srulight.tasks.compiling import check_compiler
from srulight.tasks.metrics import MeanLoss
from srulight.tasks.optimization import build_optimizer, build_schedule
from srulight.tasks.prediction import Generator, LinePredictor, Predictor
from srulight.training.resume.checkpoint_format import METADATA, QUANTIZATION
from srulight.training.resume.lightning_internals import trainer_of
from srulight.training.resume.restoring import (
    bounded,
    check_schedule,
    refuse_others,
)
from srulight.training.resume.resume_position import begin_loader
from srulight.training.resume.task_state import restore_progress, save_progress, save_settings

Stage = Literal["val", "test"]

NOT_TRAINED = (
    "a quantized model cannot be trained; train the original checkpoint, then quantize it again"
)
"""Message for an attempt to train a quantized model."""


class Task(LightningModule, ABC):
    """A model together with its loss and its metrics.

    A task is built in two steps. The constructor only keeps the settings; ``build_network`` makes
    the modules as soon as the metadata of the data (vocabulary, labels) are available. The metadata
    are plain data and are part of every checkpoint, so a checkpoint is all you need to predict.

    A subclass implements ``build_network``, ``loss`` (for training), ``new_metrics`` and
    ``measure`` (for validation and test) and ``predict``. This class implements the rest.

    This class must not declare ``__init__``: Lightning loads a checkpoint through a base class only
    if that class accepts every keyword argument.

    Attributes:
        metadata: What the task must know about its data, as the data module's ``metadata``; None
            until the modules are built.
        train_loss: Mean of the training losses since the epoch began; ``compute`` averages over all
            processes. Made by ``build``.
        val_metrics: Metrics of the current validation: ``loss`` and those of ``new_metrics``. Made
            by ``build``.
        test_metrics: The same metrics for the test. Made by ``build``.
        recurrent_state: State that training carries from one batch to the next on this process, or
            None. A checkpoint contains the state of every process.
        monitor: Name of the metric that selects the best checkpoint, and "max" or "min"; see also
            ``monitored``.
        report: Details of the last validation or test, which ``validate`` and ``test`` print and
            save; None if there was none yet, or the task has no report.
        knows: Structure that ``metadata`` must have, as ``structure.require`` takes it. The
            metadata of a checkpoint are checked against it.
        optimizer_factory: Builds the optimizer from the parameters; Adam with a learning rate of
            0.001 if None. Set by each task.
        scheduler_factory: Builds the learning-rate schedule from the optimizer. It is stepped after
            every batch, ReduceLROnPlateau after every epoch. The learning rate is constant if None.
            Set by each task.
        resumed: Weights of the checkpoint that the task was loaded from, which limit the size of
            the modules; None for a new task.
        quantization: How the weights were quantized; None if they were not.
        compiled: Whether a trainer runs the task through ``torch.compile``. Set by the tasks that
            support it.
        predictor: Class that implements the command ``predict`` for this task.
        generator: Class that implements the command ``generate`` for this task; None if the task
            does not generate text.
    """

    metadata: dict[str, Any] | None = None
    recurrent_state: Tensor | None = None
    monitor: ClassVar[tuple[str, str]]
    knows: ClassVar[dict[str, Any]] = {}
    optimizer_factory: OptimizerCallable | None = None
    scheduler_factory: LRSchedulerCallable | None = None
    resumed: dict[str, Tensor] | None = None
    quantization: Settings | None = None
    _fresh_schedule: dict[str, Any] | None = None
    compiled: bool = False
    predictor: ClassVar[type[Predictor]] = LinePredictor
    generator: ClassVar[type[Generator] | None] = None
    report: Report | None = None
    train_loss: MeanLoss
    val_metrics: MetricCollection
    test_metrics: MetricCollection

    @classmethod
    def load_from_checkpoint(cls, *args: object, **code: object) -> Self:
        """Always fails, because Lightning's implementation runs code that the file names.

        Raises:
            TypeError: Always. Use ``srulight.load``, which is safe.
        """
        raise TypeError(
            "load_from_checkpoint runs code that the file names; use srulight.load(path), which "
            "does not"
        )

    @abstractmethod
    def build_network(self, metadata: dict[str, Any]) -> None:
        """Makes the modules.

        Args:
            metadata: The ``metadata`` of the data module.
        """

    @abstractmethod
    def loss(self, batch: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        """Computes the training loss of a batch.

        Args:
            batch: A training batch.

        Returns:
            The sum of the losses of all examples (or tokens), and their number, int64.
        """

    def new_metrics(self) -> dict[str, Metric]:
        """Makes the metrics of a validation or test, by name; the loss is always added."""
        return {}

    def measure(self, batch: Any, metrics: MetricCollection, stage: Stage) -> None:  # noqa: ANN401
        """Updates the metrics with a batch.

        Args:
            batch: A validation or test batch.
            metrics: ``loss`` and the metrics from ``new_metrics``.
            stage: "val" or "test".
        """
        total, count = self.loss(batch)
        metrics["loss"].update(total.double(), count)

    def summarize(self, stage: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Adds values that are derived from the metrics of an epoch, such as a perplexity.

        Args:
            stage: "train", "val" or "test".
            values: Values of the metrics by name, computed over all processes.

        Returns:
            All values to log, by name.
        """
        return values

    @abstractmethod
    def predict(self, inputs: Sequence[Any], batch_size: int = 64) -> list[Any]:
        """Predicts from raw input.

        Args:
            inputs: Raw texts, which are tokenized like the training data; for speech recognition
                audio files, for question answering passages with a question each. A single text
                or file may be given without a list.
            batch_size: Number of inputs per batch.

        Returns:
            One named tuple per input, in order.

        Raises:
            InputError: If ``batch_size`` is below 1.
        """

    @final
    def build(self, metadata: dict[str, Any]) -> None:
        """Makes the network and the metrics.

        Args:
            metadata: The ``metadata`` of the data module.
        """
        self.build_network(metadata)
        self.train_loss = MeanLoss()
        self.val_metrics = self._metrics("val/")
        self.test_metrics = self._metrics("test/")

    def _metrics(self, prefix: str) -> MetricCollection:
        metrics: dict[str, Metric | MetricCollection] = {"loss": MeanLoss(), **self.new_metrics()}
        return MetricCollection(metrics, prefix=prefix, compute_groups=False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:  # noqa: ANN401
        total, count = self.loss(batch)
        self.train_loss.update(total, count)
        return self.mean_loss(total, count)

    def validation_step(self, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        self.measure(batch, self.val_metrics, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        self.measure(batch, self.test_metrics, "test")

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train", {"loss": self.train_loss.compute()})
        self.train_loss.reset()

    def on_validation_epoch_end(self) -> None:
        self._log_pass("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        self._log_pass("test", self.test_metrics)

    def _log_pass(self, stage: Stage, metrics: MetricCollection) -> None:
        values = metrics.compute()
        self._log_epoch(stage, {name.removeprefix(f"{stage}/"): v for name, v in values.items()})
        metrics.reset()

    def _log_epoch(self, stage: str, values: dict[str, Tensor]) -> None:
        found = {f"{stage}/{k}": v.float() for k, v in self.summarize(stage, values).items()}
        # The metrics have combined the processes already; Lightning warns without sync_dist.
        self.log_dict(found, prog_bar=True, sync_dist=True)

    def begin_predicting(self, batch_size: int) -> dict[str, Any]:
        """Puts the task into evaluation mode, and returns the metadata.

        Args:
            batch_size: Number of inputs per batch.

        Raises:
            InputError: If ``batch_size`` is below 1.
            RuntimeError: If the task was neither trained nor loaded from a checkpoint.
        """
        check_range(1, batch_size=batch_size)
        self.eval()
        return self.check_trained()

    @staticmethod
    def as_texts(inputs: str | Sequence[str]) -> list[str]:
        """Returns the inputs of ``predict`` as a list of well-formed strings.

        Args:
            inputs: One text, or several.
        """
        return list(map(well_formed, [inputs] if isinstance(inputs, str) else inputs))

    def check_trained(self) -> dict[str, Any]:
        """Returns the metadata.

        Raises:
            RuntimeError: If the task was neither trained nor loaded from a checkpoint.
        """
        if self.metadata is None:
            raise RuntimeError(
                "the task has no vocabulary yet; train it, or load a checkpoint with srulight.load"
            )
        return self.metadata

    def check_metadata(self, metadata: dict[str, Any]) -> None:
        """Checks the metadata of a checkpoint, which are not trusted.

        Args:
            metadata: Metadata of the checkpoint.

        Raises:
            InputError: If they do not have the structure that the task needs.
        """
        require(metadata, self.knows, METADATA)

    def load_pretrained_embeddings(self, data: LightningDataModule) -> None:
        """Copies pretrained embeddings from the data module before training starts.

        Does nothing by default.

        Args:
            data: The data module, after ``setup``.
        """

    def monitored(self, data: LightningDataModule) -> tuple[str, str]:
        """Returns the name of the metric that selects the best checkpoint, and "max" or "min".

        Args:
            data: The data module, before ``setup``.

        Raises:
            InputError: If a setting names a metric that the task does not have.
        """
        return self.monitor

    def check(self, data: LightningDataModule) -> None:
        """Looks for data that the task cannot use, before the first step.

        Does nothing by default.

        Args:
            data: The data module, after ``setup``.

        Raises:
            InputError: If the task cannot use the data.
        """

    def mean_loss(self, total: Tensor, count: Tensor) -> Tensor:
        """Scales the loss so that several processes train exactly as one would.

        Processes average their gradients. The result equals the gradient of the mean loss over all
        examples only if every process divides by the number of examples of all processes. Dividing
        by its own number would give more weight to the examples of a process that has fewer.

        Args:
            total: Sum of the losses on this process.
            count: Number of these losses, int64.

        Returns:
            With one process, the mean loss; with several, a value whose average over the processes
            is the mean loss.
        """
        trainer = trainer_of(self)
        processes = 1 if trainer is None else trainer.world_size
        if processes == 1:
            return total / count.clamp_min(1)  # all targets of a batch may be missing
        everywhere = count.clone()  # all_reduce works in place
        torch.distributed.all_reduce(everywhere)
        return total * processes / everywhere.clamp_min(1)

    def compile_network(self) -> None:
        """Replaces the most expensive method by a compiled one. Does nothing by default.

        A task compiles a method rather than a module, because compiling a module would change the
        names of the weights in checkpoints.
        """

    def configure_model(self) -> None:
        trainer = trainer_of(self)
        if trainer is None:
            return
        data: LightningDataModule | None = trainer.datamodule  # type: ignore[attr-defined]
        if self.metadata is None:
            self._build_from_data(data)
        if data is not None:
            self.check(data)
        # Without a trainer the task only predicts, and compiling would take longer than that.
        if self.compiled:
            check_compiler(trainer.strategy.root_device)
            self.compile_network()

    def _build_from_data(self, data: LightningDataModule | None) -> None:
        if data is None:
            raise InputError(
                "a new task needs a data module, which provides its vocabulary; pass "
                "datamodule=... to the trainer"
            )
        # Lightning makes the device of the training the default here. Each device draws other
        # random numbers, but a seed should give the same initial weights on all of them.
        with torch.device("cpu"):
            self._build(data.metadata)  # type: ignore[attr-defined]
            self.load_pretrained_embeddings(data)

    def _build(self, metadata: dict[str, Any]) -> None:
        try:
            with nullcontext() if self.resumed is None else bounded(self.resumed):
                self.build(_Known(metadata, type(self).__name__))
        except (ValueError, ArithmeticError) as error:  # from a setting of the encoder, for example
            raise InputError(str(error)) from error
        self.metadata = metadata

    def _build_from_file(self, metadata: dict[str, Any]) -> None:
        self.check_metadata(metadata)
        try:
            self._build(metadata)
        except (LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
            raise InputError(
                f"cannot build {type(self).__name__} from the settings and {METADATA} of the "
                f"checkpoint: {type(error).__name__}: {error}"
            ) from error

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[METADATA] = self.metadata
        if self.quantization is not None:
            checkpoint[QUANTIZATION] = self.quantization.stored()
        save_settings(self, checkpoint)
        save_progress(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        weights = self.resumed = checkpoint["state_dict"]
        if self.metadata is None:
            self._build_from_file(checkpoint[METADATA])
        if QUANTIZATION in checkpoint:
            self.quantization = Settings.of(checkpoint[QUANTIZATION])
            restore_structure(self, weights, self.quantization)
        trainer = trainer_of(self)
        # A strategy that shards weights loads them later, under names of its own.
        if trainer is None or not trainer.strategy.restore_checkpoint_after_setup:
            refuse_others(self.state_dict(), weights)
        if trainer is not None:
            restore_progress(self, checkpoint)

    def on_train_start(self) -> None:
        begin_loader(self.trainer)
        if self._fresh_schedule is not None:
            # torch copies the state from the checkpoint into the schedule without any check.
            for config in self.trainer.lr_scheduler_configs:
                check_schedule(config.scheduler, self._fresh_schedule)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        if self.quantization is not None:
            raise InputError(NOT_TRAINED)
        trainer = trainer_of(self)
        clips = trainer is not None and bool(trainer.gradient_clip_val)
        optimizer = build_optimizer(self.parameters(), self.optimizer_factory, clips)
        if self.scheduler_factory is None:
            return optimizer
        both, self._fresh_schedule = build_schedule(optimizer, self.scheduler_factory)
        return both


class _Known(dict[str, Any]):
    """Metadata that explain which key is missing."""

    def __init__(self, metadata: dict[str, Any], task: str) -> None:
        super().__init__(metadata)
        self._task = task

    def __missing__(self, key: str) -> NoReturn:
        raise InputError(
            f"{self._task} needs {key!r} in the metadata of its data module, got "
            f"{', '.join(self) or 'none'}; use the data module of this task"
        )
