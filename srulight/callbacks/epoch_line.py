"""One line for each epoch."""

import time

from lightning import Callback, LightningModule, Trainer


class EpochLine(Callback):
    """Prints what an epoch came to, so that a run can be read back when its progress bar is gone.

    The time is the whole epoch's, validation and checkpoints included.
    """

    def __init__(self) -> None:
        self._start: float | None = None

    # Printed when the next epoch starts: only then is all of an epoch logged.
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer, trainer.current_epoch - 1)
        self._start = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer, trainer.current_epoch - 1)
        self._start = None

    def _print(self, trainer: Trainer, epoch: int) -> None:
        if self._start is None:
            return
        metrics = trainer.callback_metrics
        numbers = ", ".join(f"{name} {metrics[name]:,.4g}" for name in sorted(metrics))
        trainer.print(f"epoch {epoch} ({time.perf_counter() - self._start:.1f} s): {numbers}")
