"""What every task shares."""

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

from srulight.runtime.errors import InputError, check_range
from srulight.runtime.files import well_formed
from srulight.runtime.structure import require
from srulight.tasks.compiling import check_compiler
from srulight.tasks.metrics import MeanLoss
from srulight.tasks.optimization import build_optimizer, build_schedule
from srulight.tasks.prediction import Generator, LinePredictor, Predictor
from srulight.training.resume.checkpoint_format import METADATA
from srulight.training.resume.lightning_internals import trainer_of
from srulight.training.resume.restoring import (
    bounded,
    check_schedule,
    refuse_others,
)
from srulight.training.resume.resume_position import begin_loader
from srulight.training.resume.task_state import restore_progress, save_progress, save_settings

Stage = Literal["val", "test"]


class Task(LightningModule, ABC):
    """A model, its loss and its metrics.

    A task is built in two steps: its constructor keeps settings, and ``build_network`` makes the
    modules once it is known what the data know (vocabulary, labels). That knowledge is plain data
    and travels in every checkpoint, so that a checkpoint is all one needs to predict.

    A subclass gives ``build_network``, ``loss`` (to train with), ``new_metrics`` and ``measure``
    (to validate and test with) and ``predict``; what is the same for all of them is here.

    A task declares no ``__init__`` here: Lightning reloads a checkpoint through any base class
    only while that base accepts every keyword.

    Attributes:
        metadata: What the data know; None until the modules are built.
        train_loss: The mean of the losses of the pass so far, over all processes when computed.
            Made by ``build``.
        val_metrics: Metrics of the validation under way, ``loss`` and those of ``new_metrics``;
            made by ``build``.
        test_metrics: As well, of the test.
        recurrent_state: What this process's training carries from each batch to the next: the
            state after the last one; None for nothing. A checkpoint holds that of every process.
        monitor: Metric that tells the best checkpoint, and whether to take its "max" or "min".
        knows: Shape of ``metadata``, as for ``structure.require``, which that of a checkpoint is
            checked against.
        optimizer_factory: Builds the optimiser from the parameters; Adam with a learning rate of
            0.001 if None. Set by each task.
        scheduler_factory: Builds the learning-rate schedule from the optimiser, stepped after
            every batch (ReduceLROnPlateau: every epoch); None for a constant rate. Set by each
            task.
        resumed: Weights of the checkpoint that the task goes on from, which bound its size; None
            for a new one.
        compiled: Whether a trainer runs the task through ``torch.compile``. Set by tasks that can.
        predictor: What the command ``predict`` does with the task.
        generator: What the command ``generate`` does with it; None if the task does not generate.
    """

    metadata: dict[str, Any] | None = None
    recurrent_state: Tensor | None = None
    monitor: ClassVar[tuple[str, str]]
    knows: ClassVar[dict[str, Any]] = {}
    optimizer_factory: OptimizerCallable | None = None
    scheduler_factory: LRSchedulerCallable | None = None
    resumed: dict[str, Tensor] | None = None
    _fresh_schedule: dict[str, Any] | None = None
    compiled: bool = False
    predictor: ClassVar[type[Predictor]] = LinePredictor
    generator: ClassVar[type[Generator] | None] = None
    train_loss: MeanLoss
    val_metrics: MetricCollection
    test_metrics: MetricCollection

    @classmethod
    def load_from_checkpoint(cls, *args: object, **code: object) -> Self:
        """Refuses: Lightning's own way runs what a file names.

        Raises:
            TypeError: Always; ``srulight.load`` does the same safely.
        """
        raise TypeError("use srulight.load(path), which runs nothing that the file names")

    @abstractmethod
    def build_network(self, metadata: dict[str, Any]) -> None:
        """Makes the modules.

        Args:
            metadata: What the data module's ``metadata`` holds.
        """

    @abstractmethod
    def loss(self, batch: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        """Computes what to train with.

        Args:
            batch: A training batch.

        Returns:
            The sum of the losses of all examples (or tokens), and how many they are, int64.
        """

    def new_metrics(self) -> dict[str, Metric]:
        """Makes the metrics of a validation or test, besides the loss, by their names."""
        return {}

    def measure(self, batch: Any, metrics: MetricCollection, stage: Stage) -> None:  # noqa: ANN401
        """Updates the metrics with a batch.

        Args:
            batch: A batch of validation or test.
            metrics: ``loss``, and what ``new_metrics`` made.
            stage: Which of the two it is.
        """
        total, count = self.loss(batch)
        metrics["loss"].update(total.double(), count)

    def summarize(self, stage: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Adds to the values of a pass what follows from them, such as a perplexity.

        Args:
            stage: "train", "val" or "test".
            values: The values of the metrics, over all processes, by their names.
        """
        return values

    @abstractmethod
    def predict(self, inputs: Sequence[Any], batch_size: int = 64) -> list[Any]:
        """Answers raw input.

        Args:
            inputs: Raw text, treated as the training data were; files of sound, or texts with a
                question each, where the task is about such. A text or file alone is one input.
            batch_size: Inputs at a time.

        Returns:
            A named tuple for each input, in order.

        Raises:
            InputError: If ``batch_size`` is below 1.
        """

    @final
    def build(self, metadata: dict[str, Any]) -> None:
        """Makes the network and the metrics.

        Args:
            metadata: What the data module's ``metadata`` holds.
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
        # Already those of all processes.
        self.log_dict(found, prog_bar=True, sync_dist=True)

    def begin_predicting(self, batch_size: int) -> dict[str, Any]:
        """Gets ready to predict, and gives the metadata.

        Args:
            batch_size: Inputs at a time.

        Raises:
            InputError: If ``batch_size`` is below 1.
            RuntimeError: If there is nothing to predict with yet.
        """
        check_range(1, batch_size=batch_size)
        self.eval()
        return self.check_trained()

    @staticmethod
    def as_texts(inputs: str | Sequence[str]) -> list[str]:
        """Gives texts as they are predicted from: a text alone is one, and all are well formed.

        Args:
            inputs: A text, or texts.
        """
        return list(map(well_formed, [inputs] if isinstance(inputs, str) else inputs))

    def check_trained(self) -> dict[str, Any]:
        """Gives the metadata; raises RuntimeError if there is nothing to predict with yet."""
        if self.metadata is None:
            raise RuntimeError("train the task, or load a checkpoint, before predicting")
        return self.metadata

    def check_metadata(self, metadata: dict[str, Any]) -> None:
        """Raises InputError if metadata of a checkpoint are not what the task knows of its data."""
        require(metadata, self.knows, METADATA)

    def load_pretrained_embeddings(self, data: LightningDataModule) -> None:
        """Takes first weights from the data module, before training; for tasks that can."""

    def check(self, data: LightningDataModule) -> None:
        """Looks for what the task cannot use, before the first step; for tasks that can.

        Args:
            data: The data module; it is set up.

        Raises:
            InputError: If there is something.
        """

    def mean_loss(self, total: Tensor, count: Tensor) -> Tensor:
        """Gives the loss to train with, whichever share of the examples this process has.

        Processes average their gradients. That is the gradient of the mean over the examples of all
        of them, as in one process, only if each divides by what all have: a process with fewer
        examples than others, or none, would otherwise give each of its own more weight.

        Args:
            total: Sum of the losses of this process.
            count: How many they are, int64.

        Returns:
            The mean loss, in one process; what averages to it, in several.
        """
        trainer = trainer_of(self)
        processes = 1 if trainer is None else trainer.world_size
        if processes == 1:
            return total / count
        everywhere = count.clone()  # the caller's own stays as it is
        torch.distributed.all_reduce(everywhere)
        return total * processes / everywhere

    def compile_network(self) -> None:
        """Puts a compiled function in the place of the one that takes the time; for tasks that can.

        A function, and not a module: names in checkpoints stay as they are.
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
        # Without a trainer there is little to run, and compiling would take longer.
        if self.compiled:
            check_compiler(trainer.strategy.root_device)
            self.compile_network()

    def _build_from_data(self, data: LightningDataModule | None) -> None:
        if data is None:
            raise InputError("a task learns its vocabulary from a data module: pass datamodule=...")
        self._build(data.metadata)  # type: ignore[attr-defined]
        self.load_pretrained_embeddings(data)

    def _build(self, metadata: dict[str, Any]) -> None:
        try:
            with nullcontext() if self.resumed is None else bounded(self.resumed):
                self.build(_Known(metadata, type(self).__name__))
        except (ValueError, ArithmeticError) as error:  # a setting of the encoder's, say
            raise InputError(str(error)) from error
        self.metadata = metadata

    def _build_from_file(self, metadata: dict[str, Any]) -> None:
        self.check_metadata(metadata)
        try:
            self._build(metadata)
        except (LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
            raise InputError(
                f"settings and {METADATA} in the checkpoint make no {type(self).__name__}: "
                f"{type(error).__name__} {error}"
            ) from error

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[METADATA] = self.metadata
        save_settings(self, checkpoint)
        save_progress(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        weights = self.resumed = checkpoint["state_dict"]
        if self.metadata is None:
            self._build_from_file(checkpoint[METADATA])
        trainer = trainer_of(self)
        # A strategy that shards weights loads them later, by names of its own.
        if trainer is None or not trainer.strategy.restore_checkpoint_after_setup:
            refuse_others(self.state_dict(), weights)
        if trainer is not None:
            restore_progress(self, checkpoint)

    def on_train_start(self) -> None:
        begin_loader(self.trainer)
        if self._fresh_schedule is not None:
            # torch puts whatever a checkpoint holds into it.
            for config in self.trainer.lr_scheduler_configs:
                check_schedule(config.scheduler, self._fresh_schedule)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trainer = trainer_of(self)
        clips = trainer is not None and bool(trainer.gradient_clip_val)
        optimizer = build_optimizer(self.parameters(), self.optimizer_factory, clips)
        if self.scheduler_factory is None:
            return optimizer
        both, self._fresh_schedule = build_schedule(optimizer, self.scheduler_factory)
        return both


class _Known(dict[str, Any]):
    """What data know, which says more than that a key is missing."""

    def __init__(self, metadata: dict[str, Any], task: str) -> None:
        super().__init__(metadata)
        self._task = task

    def __missing__(self, key: str) -> NoReturn:
        raise InputError(
            f"a {self._task} needs {key} of its data, which know {', '.join(self) or 'nothing'}: "
            "they are data of another task"
        )
