"""Measures the speed of training."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs the throughput and the duration of training, both without validation.

    - ``train/samples_per_second`` or ``train/tokens_per_second``, depending on the ``unit`` of the
      batches: the throughput of an epoch, summed over all processes.
    - ``train/seconds``, with every validation: the duration of training so far, in seconds,
      including the time before the run was resumed.
    """

    def __init__(self) -> None:
        self._total = self._seconds = 0.0  # training time of the run, and of the epoch
        self._start: float | None = None  # time when the clock started; None while it is stopped

    # Not in on_train_epoch_start, which is not called for a run that resumes within an epoch.
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
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
        self._count()
        self._start = None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            pl_module.log("train/seconds", self._total, sync_dist=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count()
        rate = self._size / self._seconds  # of this process; log() sums over processes
        name = f"train/{self._unit}_per_second"
        pl_module.log(name, rate, sync_dist=True, reduce_fx="sum")
        self._begin()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = None

    def state_dict(self) -> dict[str, Any]:
        self._count()  # a checkpoint may be saved within an epoch
        return {"seconds": self._total}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._total = state_dict["seconds"]

    def _count(self) -> None:
        if self._start is not None:
            now = time.perf_counter()
            self._seconds += now - self._start
            self._total += now - self._start
            self._start = now
