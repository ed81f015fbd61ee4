"""Saves the checkpoint from which a run resumes, whatever ends the run."""

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

_SAVE = 1  # A request to save; larger requests are exit statuses to stop with.

_Mark = Callable[[dict[str, Any]], None]  # sets the position that a checkpoint resumes from


class LastCheckpoint(Callback):
    """Saves ``last.ckpt``, from which a run resumes as if it had never been stopped.

    The checkpoint is saved after every validation, at intervals of time and of steps, and when
    training ends. It is also saved when a signal asks the run to stop: SIGTERM or SIGUSR1, which
    clusters send, in any process, or Ctrl-C. All processes then finish the current step, save and
    exit with status 143 (130 after Ctrl-C).

    The previous checkpoint is kept as ``previous.ckpt``.

    Args:
        minutes: Maximum time between two checkpoints, in minutes; 0 or less means no limit.
        every_n_steps: Maximum number of optimizer steps between two checkpoints; None means no
            limit.
        folder: Folder of the checkpoints; None means ``checkpoints`` beside the log.

    Attributes:
        path: Path of the checkpoint, known once a trainer has started.

    Raises:
        InputError: If ``every_n_steps`` is less than 1.
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
        self._requests: AsyncMaxReduce | None = None
        self.path = Path()
        self._due = False
        self._is_intact = False  # whether this run wrote or loaded the existing file
        self._mark: _Mark | None = None  # for the current checkpoint, if this callback saves it
        self._saved_step = 0
        self._saved_time = 0.0
        self._exchanges = 0  # validation batches left that every process has

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        folder = self.folder or f"{trainer.log_dir or trainer.default_root_dir}/checkpoints"
        self.path = Path(trainer.strategy.broadcast(folder)) / "last.ckpt"

    # Not earlier, because Lightning installs its own signal handlers first.
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._signals.install()
        self._requests = AsyncMaxReduce()
        self._saved_step = trainer.global_step
        self._saved_time = time.monotonic()
        loaded = trainer.ckpt_path
        self._is_intact = loaded is not None and Path(loaded).absolute() == self.path.absolute()

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        request = self._exchange(trainer)
        new = trainer.global_step - self._saved_step
        # A request from the step before a checkpoint arrives after it, and is already met.
        late = request == _SAVE and new > 1
        due = self._due or late or new >= (self.every_n_steps or sys.maxsize)
        # A checkpoint does not contain accumulated gradients: wait until they are used.
        if batch_idx % trainer.accumulate_grad_batches == 0:
            if (new and due) or request > _SAVE:
                self._save(trainer, mark_between_batches)
            if request > _SAVE:
                self._stop(trainer, request)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        forget_validation(trainer)
        if self._requests is not None:
            # An exchange with a process that has no more batches would never finish.
            self._exchanges = self._requests.smallest(
                int(min(sum(trainer.num_val_batches), sys.maxsize))
            )

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object
    ) -> None:
        if trainer.sanity_checking or self._requests is None or self._exchanges == 0:
            return
        self._exchanges -= 1
        request = self._exchange(trainer)
        if request > _SAVE and not is_accumulating(trainer):
            self._save(trainer, mark_before_validation)
            self._stop(trainer, request)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._due = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._due = True
        # If max_steps, for example, cut the epoch short, a resumed run must finish this epoch.
        if batches_done(trainer) < trainer.num_training_batches:
            self._save(trainer, mark_within_epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._requests is not None:
            self._requests.wait()
        if self._due:
            self._save(trainer, mark_after_epoch)
        # Before Lightning restores the handlers that it found.
        self._signals.restore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._signals.restore()

    def _exchange(self, trainer: Trainer) -> int:
        """Exchanges requests between processes, and returns the largest; 0 means none.

        Any process may request to stop. Only the first one requests to save when it is time.
        """
        assert self._requests is not None
        late = self.minutes > 0 and time.monotonic() - self._saved_time >= 60 * self.minutes
        own = self._signals.code or (_SAVE if late and trainer.is_global_zero else 0)
        return self._requests(own)

    def _save(self, trainer: Trainer, mark: _Mark) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return  # --ckpt_path=last must not find a trial run
        # If the run resumed from previous.ckpt because last.ckpt is damaged, keep previous.ckpt.
        if trainer.is_global_zero and self._is_intact and self.path.is_file():
            _keep(self.path, self.path.with_name("previous.ckpt"))
        self._mark = mark
        if mark is mark_before_validation:
            _put_weights_back(trainer)
        trainer.save_checkpoint(self.path, weights_only=False)
        self._mark = None
        self._is_intact = True
        self._due = False
        self._saved_step = trainer.global_step
        self._saved_time = time.monotonic()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._mark is None:
            return
        self._mark(checkpoint)
        if self._mark is not mark_before_validation:  # its step is not complete for loggers
            checkpoint[POSITION]["steps"] = logged_steps(trainer)

    def _stop(self, trainer: Trainer, code: int) -> None:
        if trainer.is_global_zero:
            print(
                f"stopped after step {trainer.global_step}; resume with --ckpt_path={self.path}",
                file=sys.stderr,
            )
        release_children(trainer)
        raise SystemExit(code)


def _keep(path: Path, copy: Path) -> None:
    """Gives a file a second name, and replaces any file of that name."""
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
