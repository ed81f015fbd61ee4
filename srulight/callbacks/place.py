"""A resumed run goes on exactly where it was, in its batches, its metrics and its log."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from srulight.data import TaskData
from srulight.logs import Log

KEY = "place"


class Place(Callback):
    """Keeps in every checkpoint where a run is, and mends what Lightning (2.6) forgets of it.

    - The batches of the pass, and of how many. Where a pass has another number now (of processes,
      or of sentences in a batch), the run goes on at the same part of it.
    - The metrics of the last epoch, which early stopping and ``ReduceLROnPlateau`` look at.
    - The rows of the log, which goes on after them.
    - The number of steps in the log, which Lightning counts wrongly after some restarts.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None
        self._steps: int | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        place: dict[str, Any] = {
            "batches": trainer.num_training_batches,
            "metrics": {name: value.cpu() for name, value in trainer.callback_metrics.items()},
        }
        log = _log(trainer)
        if log is not None and trainer.is_global_zero:
            log.table.save()
            place["rows"] = len(log.table.rows)
        checkpoint[KEY] = place

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._restored = checkpoint.get(KEY)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._restored is None:
            return
        trainer.callback_metrics.update(self._restored["metrics"])
        self._move(trainer, self._restored["batches"], trainer.num_training_batches)  # type: ignore[arg-type]

    def _move(self, trainer: Trainer, before: int, now: int) -> None:
        """Finds the place in a pass that has another number of batches than it had."""
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        done = progress.completed
        if now == before or not isinstance(trainer.datamodule, TaskData):  # type: ignore[attr-defined]
            return
        batches = done * now // before
        batches -= batches % trainer.accumulate_grad_batches if batches < now else 0
        progress.ready = progress.started = progress.processed = progress.completed = batches
        trainer.datamodule.begin_at(batches)  # type: ignore[attr-defined]
        if 0 < done < before:
            rank_zero_info(
                f"an epoch had {before} batches and has {now} now: it goes on after {batches} of "
                f"them, where it was after {done}; some of its examples may come twice and some "
                "not at all"
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A run that stopped in the validation at the end of an epoch has no batch before its end.
        if not trainer.sanity_checking:
            self._go_on(trainer)

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        self._go_on(trainer)

    def _go_on(self, trainer: Trainer) -> None:
        if self._restored is None:
            return
        # Otherwise a plateau would not be looked for at the end of this epoch.
        trainer.fit_loop._restarting = False
        if "steps" in self._restored:
            trainer.fit_loop.epoch_loop._batches_that_stepped = self._restored["steps"]
        self._restored = None


def _log(trainer: Trainer) -> Log | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, Log)), None)
