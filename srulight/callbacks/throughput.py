"""How fast training goes."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs ``train/samples_per_second`` of each epoch, validation not counted, over all processes.

    A batch's samples are the entries of its ``lengths``.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._samples = 0
        self._validating = 0.0
        self._start = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        self._samples += len(batch.lengths)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._validating += time.perf_counter() - self._paused

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = time.perf_counter() - self._start - self._validating
        rate = self._samples / seconds  # of this process; the sum over processes is logged
        pl_module.log("train/samples_per_second", rate, sync_dist=True, reduce_fx="sum")
