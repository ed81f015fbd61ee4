"""The checkpoint that a run goes on from, whatever ends it."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging

from srulight.runtime.distributed import AsyncMaxReduce
from srulight.runtime.errors import InputError
from srulight.training.resume.checkpoint_format import POSITION
from srulight.training.resume.lightning_internals import (
    batches_done,
    forget_validation,
    is_accumulating,
    logged_steps,
    mark_after_epoch,
    mark_before_validation,
    mark_between_batches,
    mark_within_epoch,
    release_children,
)
from srulight.training.resume.signals import Signals

_SAVE = 1  # What a process may wish; other numbers are exit statuses to stop with.

_Mark = Callable[[dict[str, Any]], None]  # makes a checkpoint look like one of its moment


class LastCheckpoint(Callback):
    """Saves ``last.ckpt``, from which a resumed run is the same as one that was never stopped.

    After every validation, after so many minutes and steps, when training ends, and when a signal
    asks it to stop: SIGTERM and SIGUSR1 in any process, as clusters send them, or Ctrl-C. Then all
    processes agree, save at the end of the step under way and exit with 143 (Ctrl-C: 130).

    The one before is kept as ``previous.ckpt``.

    Args:
        minutes: Time between two, at most; 0 or less for no limit.
        every_n_steps: Steps of the optimiser between two, at most; no limit if None.
        folder: Where they go; ``checkpoints`` beside the log if None.

    Attributes:
        path: The file; known once a trainer has begun.
    """

    def __init__(
        self,
        minutes: float = 5.0,
        every_n_steps: int | None = None,
        folder: str | None = None,
    ) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise InputError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.minutes = minutes
        self.every_n_steps = every_n_steps
        self.folder = folder
        self._signals = Signals()
        self._wish: AsyncMaxReduce | None = None
        self.path = Path()
        self._due = False
        self._is_whole = False  # the file that is there now, as far as this run knows
        self._mark: _Mark | None = None  # of the checkpoint under way, if it is of this class
        self._saved_step = 0
        self._saved_time = 0.0
        self._exchanges = 0  # that a validation has in all processes

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        folder = self.folder or f"{trainer.log_dir or trainer.default_root_dir}/checkpoints"
        self.path = Path(trainer.strategy.broadcast(folder)) / "last.ckpt"

    # Not before: Lightning puts its own handlers in place.
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._signals.install()
        self._wish = AsyncMaxReduce()
        self._saved_step = trainer.global_step
        self._saved_time = time.monotonic()
        begun = trainer.ckpt_path
        self._is_whole = begun is not None and Path(begun).absolute() == self.path.absolute()

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        wish = self._ask(trainer)
        new = trainer.global_step - self._saved_step
        # What was wished in the step before a checkpoint is heard after it.
        late = wish == _SAVE and new > 1
        due = self._due or late or new >= (self.every_n_steps or sys.maxsize)
        # Gradients that were added up and not used yet are in no checkpoint.
        if batch_idx % trainer.accumulate_grad_batches == 0:
            if (new and due) or wish > _SAVE:
                self._save(trainer, mark_between_batches)
            if wish > _SAVE:
                self._stop(trainer, wish)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        forget_validation(trainer)
        if self._wish is not None:
            # What waits for a process that has no more batches would wait for ever.
            self._exchanges = self._wish.smallest(
                int(min(sum(trainer.num_val_batches), sys.maxsize))
            )

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object
    ) -> None:
        if trainer.sanity_checking or self._wish is None or self._exchanges == 0:
            return
        self._exchanges -= 1
        wish = self._ask(trainer)
        if wish > _SAVE and not is_accumulating(trainer):
            self._save(trainer, mark_before_validation)
            self._stop(trainer, wish)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._due = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._due = True
        # Where max_steps, say, cut an epoch short, to go on is to go on with this epoch.
        if batches_done(trainer) < trainer.num_training_batches:
            self._save(trainer, mark_within_epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._wish is not None:
            self._wish.wait()
        if self._due:
            self._save(trainer, mark_after_epoch)
        # Now: after this Lightning puts back what was there before it.
        self._signals.restore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._signals.restore()

    def _ask(self, trainer: Trainer) -> int:
        """Gives what any process wishes; each wishes to stop, or the first to save, in its time."""
        assert self._wish is not None
        late = self.minutes > 0 and time.monotonic() - self._saved_time >= 60 * self.minutes
        return self._wish(self._signals.code or (_SAVE if late and trainer.is_global_zero else 0))

    def _save(self, trainer: Trainer, mark: _Mark) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return  # a trial, which "last" must not find
        # A damaged one, if this run went on from the one before, must not take its place.
        if trainer.is_global_zero and self._is_whole and self.path.is_file():
            _keep(self.path, self.path.with_name("previous.ckpt"))
        self._mark = mark
        if mark is mark_before_validation:
            _put_weights_back(trainer)
        trainer.save_checkpoint(self.path, weights_only=False)
        self._mark = None
        self._is_whole = True
        self._due = False
        self._saved_step = trainer.global_step
        self._saved_time = time.monotonic()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._mark is None:
            return
        self._mark(checkpoint)
        if self._mark is not mark_before_validation:  # whose step is not over for loggers
            checkpoint[POSITION]["steps"] = logged_steps(trainer)

    def _stop(self, trainer: Trainer, code: int) -> None:
        if trainer.is_global_zero:
            print(
                f"stopped after step {trainer.global_step}; go on with --ckpt_path={self.path}",
                file=sys.stderr,
            )
        release_children(trainer)
        raise SystemExit(code)


def _keep(path: Path, copy: Path) -> None:
    """Gives a file a second name, in place of whatever has that."""
    new = copy.with_name(f".{copy.name}")
    new.unlink(missing_ok=True)
    try:
        os.link(path, new)
        os.replace(new, copy)
    except OSError:  # a file system without links
        os.replace(path, copy)


def _put_weights_back(trainer: Trainer) -> None:
    """Gives the model its current weights, which a validation swaps for their average."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging):
            callback.on_validation_epoch_end(trainer, trainer.lightning_module)
