"""One line for each epoch."""

import time

from lightning import Callback, LightningModule, Trainer


class EpochLine(Callback):
    """Prints what an epoch came to, so that a run can be read back when its progress bar is gone.

    The time is the whole epoch's, validation and checkpoints included; of an epoch that was
    resumed in its middle, what this run had of it.
    """

    def __init__(self) -> None:
        self._start = 0.0
        self._batches = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin()

    def on_train_batch_end(self, *_: object) -> None:
        self._batches += 1

    # Printed when the next epoch starts: only then is all of an epoch logged.
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)

    def _begin(self) -> None:
        self._start = time.perf_counter()
        self._batches = 0

    def _print(self, trainer: Trainer) -> None:
        if self._batches:
            metrics = trainer.callback_metrics
            numbers = ", ".join(f"{name} {metrics[name]:,.4g}" for name in sorted(metrics))
            seconds = time.perf_counter() - self._start
            trainer.print(f"epoch {trainer.current_epoch - 1} ({seconds:.1f} s): {numbers}")
        self._begin()
