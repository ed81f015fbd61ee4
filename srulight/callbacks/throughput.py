"""How fast training goes."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs how much an epoch trains on in a second, validation not counted, over all processes.

    ``train/samples_per_second`` or ``train/tokens_per_second``, as the batches' ``unit`` is; and
    with every validation ``train/seconds``: how long this run has trained up to there, epochs
    before it was resumed and validation not counted.
    """

    # Not when an epoch starts: a run that is resumed in the middle of one starts none.
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._total = 0.0
        self._begin()

    def _begin(self) -> None:
        self._size = 0
        self._unit = "samples"
        self._seconds = 0.0
        self._start = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        self._size += batch.size
        self._unit = batch.unit

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._stop()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            pl_module.log("train/seconds", self._total, sync_dist=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()
        rate = self._size / self._seconds  # of this process; the sum over processes is logged
        name = f"train/{self._unit}_per_second"
        pl_module.log(name, rate, sync_dist=True, reduce_fx="sum")
        self._begin()

    def _stop(self) -> None:
        passed = time.perf_counter() - self._start
        self._seconds += passed
        self._total += passed
        self._start = time.perf_counter()
