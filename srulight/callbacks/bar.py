"""A progress bar that costs next to nothing."""

import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

_HERTZ = 4


class Bar(RichProgressBar):
    """Rich's progress bar, told of a batch a few times a second, however many there are."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=_HERTZ)
        self._next = 0.0

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
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
