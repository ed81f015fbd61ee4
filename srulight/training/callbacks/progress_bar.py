"""A progress bar with little overhead."""

import time
from collections.abc import Mapping
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

_HERTZ = 4


class ProgressBar(RichProgressBar):
    """Rich's progress bar, updated a few times per second instead of once per batch.

    Args:
        monitor: Validation metric to show, such as "val/accuracy"; None shows all, which may not
            fit into a line.
    """

    def __init__(self, monitor: str | None = None) -> None:
        super().__init__(refresh_rate=_HERTZ)
        self._monitor = monitor
        self._next = 0.0
        self._loss = 0.0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        now = time.monotonic()
        if now >= self._next or batch_idx + 1 == trainer.num_training_batches:
            self._next = now + 1 / _HERTZ
            if isinstance(outputs, Mapping) and "loss" in outputs:
                # Lightning has divided the loss by the number of batches per step.
                self._loss = outputs["loss"].item() * trainer.accumulate_grad_batches
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Returns the metrics to show: the loss of the batch, as that of the epoch comes later."""
        items = {
            name: value
            for name, value in super().get_metrics(trainer, pl_module).items()
            if name != "v_num" and (self._monitor in (None, name) or not name.startswith("val/"))
        }
        return {**items, "train/loss": self._loss} if trainer.training else items
