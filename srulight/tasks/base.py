"""What every task shares."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from srulight.errors import InputError
from srulight.processes import gather

METADATA = "metadata"
DROPPED = "hyper_parameters_dropped"
TASK = "task"
CARRIED = "carried"


class Task(LightningModule, ABC):
    """A model, its loss and its metrics.

    A task is built in two steps: its constructor keeps settings, and ``build`` makes the modules
    once it is known what the data know (vocabulary, labels). That knowledge is plain data and
    travels in every checkpoint, so that a checkpoint is all one needs to predict.

    A task declares no ``__init__`` here: Lightning reloads a checkpoint through any base class
    only while that base accepts every keyword.

    Attributes:
        metadata: What the data know; None until the modules are built.
        carried: What this process's training carries from each batch to the next: the state after
            the last one; None for nothing. A checkpoint holds that of every process.
        monitor: Metric that tells the best checkpoint, and whether to take its "max" or "min".
        optimizer_factory: Builds the optimiser from the parameters; Adam with a learning rate of
            0.001 if None. Set by each task.
        scheduler_factory: Builds the learning-rate schedule from the optimiser, stepped after
            every batch (ReduceLROnPlateau: every epoch); None for a constant rate. Set by each
            task.
    """

    metadata: dict[str, Any] | None = None
    carried: Tensor | None = None
    monitor: ClassVar[tuple[str, str]]
    optimizer_factory: OptimizerCallable | None
    scheduler_factory: LRSchedulerCallable | None

    @abstractmethod
    def build(self, metadata: dict[str, Any]) -> None:
        """Makes the modules.

        Args:
            metadata: What the data module's ``metadata`` holds.
        """

    @abstractmethod
    def predict(self, inputs: Sequence[str], batch_size: int = 64) -> list[Any]:
        """Answers raw input.

        Args:
            inputs: Raw text, treated as the training data were.
            batch_size: Inputs at a time.

        Returns:
            A named tuple for each input, in order.
        """

    def check_trained(self) -> dict[str, Any]:
        """Gives the metadata; raises RuntimeError if there is nothing to predict with yet."""
        if self.metadata is None:
            raise RuntimeError("train the task, or load a checkpoint, before predicting")
        return self.metadata

    def warm_start(self, data: LightningDataModule) -> None:
        """Takes first weights from the data module, before training; for tasks that can."""

    def configure_model(self) -> None:
        if self.metadata is not None or self._trainer is None:
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None:
            raise InputError("a task learns its vocabulary from a data module: pass datamodule=...")
        self._build(data.metadata)
        self.warm_start(data)

    def _build(self, metadata: dict[str, Any]) -> None:
        try:
            self.build(metadata)
        except ValueError as error:  # a setting of the encoder's, say
            raise InputError(str(error)) from error
        self.metadata = metadata

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[METADATA] = self.metadata
        checkpoint[CARRIED] = gather(None if self.carried is None else self.carried.cpu())
        checkpoint[TASK] = f"{type(self).__module__}.{type(self).__qualname__}"
        # Code cannot travel in a file that loads without running code.
        settings = checkpoint.get("hyper_parameters", {})
        for name in [name for name, value in settings.items() if not _is_plain(value)]:
            del settings[name]
        arguments = inspect.signature(type(self)).parameters
        checkpoint[DROPPED] = [name for name in arguments if name not in settings]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.metadata is None:
            self._build(checkpoint[METADATA])
        if self._trainer is None:
            return
        carried = checkpoint.get(CARRIED, [None])
        if len(carried) == self.trainer.world_size:
            self.carried = carried[self.global_rank]
        elif carried[0] is not None:
            rank_zero_info(
                f"the checkpoint is of {len(carried)} processes and this run has "
                f"{self.trainer.world_size}: the text under way is read on without a memory of "
                "what came before"
            )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trained = [p for p in self.parameters() if p.requires_grad]
        build = self.optimizer_factory or (
            lambda parameters: torch.optim.Adam(parameters, lr=1e-3, fused=True)
        )
        try:
            optimizer = build(trained)
            if self.scheduler_factory is None:
                return optimizer
            scheduler = self.scheduler_factory(optimizer)
        except ValueError as error:
            raise InputError(str(error)) from error
        if isinstance(scheduler, ReduceLROnPlateau):
            return {
                "optimizer": optimizer,
                "lr_scheduler": {
                    "scheduler": scheduler,
                    "monitor": scheduler.monitor,
                    "interval": "epoch",
                    "strict": True,
                },
            }
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise InputError(
                "torch's ReduceLROnPlateau does not say which metric it watches: use "
                "lightning.pytorch.cli.ReduceLROnPlateau and its option monitor"
            )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)
