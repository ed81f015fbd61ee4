"""How fast training goes."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs how much an epoch trains on in a second, validation not counted, over all processes.

    ``train/samples_per_second`` or ``train/tokens_per_second``, as the batches' ``unit`` is; and
    with every validation ``train/seconds``: how long this run has trained up to there, before it
    was resumed too, validation not counted.
    """

    def __init__(self) -> None:
        self._total = self._seconds = 0.0  # of the run, and of the epoch
        self._start: float | None = None  # of training, if it is going on

    # Not when an epoch starts: a run that is resumed in the middle of one starts none.
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
        rate = self._size / self._seconds  # of this process; the sum over processes is logged
        name = f"train/{self._unit}_per_second"
        pl_module.log(name, rate, sync_dist=True, reduce_fx="sum")
        self._begin()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = None

    def state_dict(self) -> dict[str, Any]:
        self._count()  # a checkpoint may be saved in the middle of an epoch
        return {"seconds": self._total}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._total = state_dict["seconds"]

    def _count(self) -> None:
        if self._start is not None:
            now = time.perf_counter()
            self._seconds += now - self._start
            self._total += now - self._start
            self._start = now
