"""Restores the exact position of a resumed run in its batches, its metrics and its log."""

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from srulight.data.resumable_loader import ResumableLoader
from srulight.runtime.structure import require, require_like
from srulight.training.logger import Log
from srulight.training.resume.checkpoint_format import POSITION
from srulight.training.resume.deferred import DeferredRestore
from srulight.training.resume.lightning_internals import (
    batches_done,
    end_restart,
    move_batches,
    set_logged_steps,
)


class ResumePosition(DeferredRestore):
    """Saves and restores the parts of a run's position that Lightning (2.6) does not.

    - The number of batches in an epoch. If it has changed, because the number of processes or the
      batch size has, the run resumes at the same fraction of the epoch.
    - The metrics of the last epoch, which early stopping and ``ReduceLROnPlateau`` use.
    - The number of rows in the log, which continues after them.
    - The number of steps in the log, which Lightning counts incorrectly after some restarts.
    """

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        position: dict[str, Any] = {
            "batches": trainer.num_training_batches,
            "metrics": {name: value.cpu() for name, value in trainer.callback_metrics.items()},
        }
        log = _log(trainer)
        if log is not None and trainer.is_global_zero:
            log.table.save()
            position["rows"] = len(log.table.rows)
        checkpoint[POSITION] = position

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._restored = checkpoint.get(POSITION)
        # Checkpoints without these entries can only be evaluated and used to predict.
        needed = {"loops": dict, "optimizer_states": list, "lr_schedulers": list}
        require(checkpoint, needed, f"{trainer.ckpt_path}, to resume from,")
        states = checkpoint.get("callbacks", {})
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            key = callback.state_key
            # Callbacks of other packages must check their states themselves.
            if key in states and type(callback).__module__.startswith(("lightning.", "srulight.")):
                where = f"{trainer.ckpt_path}: the state of {type(callback).__name__}"
                require_like(states[key], callback.state_dict(), where)
                if isinstance(callback, ModelCheckpoint):
                    states[key] = own_files(states[key], callback, Path(trainer.ckpt_path or ""))
                    require(states[key], {"best_k_models?": {"*": Tensor}}, where)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._restored is None:
            return
        trainer.callback_metrics.update(self._restored["metrics"])
        _rescale(trainer, self._restored["batches"])

    def put_back(self, trainer: Trainer, restored: dict[str, Any]) -> None:
        # Otherwise, ReduceLROnPlateau would skip the end of this epoch.
        end_restart(trainer)
        if "steps" in restored:
            set_logged_steps(trainer, restored["steps"])


def begin_loader(trainer: Trainer) -> None:
    """Makes the first epoch of a resumed run start with the batch after the last one it had.

    Lightning restores the position of a loader itself, but loses it if a schedule asks for the
    total number of steps.

    Args:
        trainer: Trainer that has restored its loops and starts to train. Loaders other than a
            ``ResumableLoader`` are left unchanged.
    """
    loader = trainer.train_dataloader
    if trainer.ckpt_path is not None and isinstance(loader, ResumableLoader):
        done = batches_done(trainer)
        # If the epoch is complete, start the next one from its first batch.
        loader.start = done if done < trainer.num_training_batches else 0


def _rescale(trainer: Trainer, before: int) -> None:
    """Converts the position in the epoch if the number of batches per epoch has changed.

    Args:
        trainer: Trainer whose position is counted in batches of the checkpoint.
        before: Number of batches per epoch in the checkpoint.
    """
    done, now = batches_done(trainer), int(trainer.num_training_batches)
    if now == before or not isinstance(trainer.train_dataloader, ResumableLoader):
        return
    batches = done * now // max(1, before)
    batches -= batches % trainer.accumulate_grad_batches if batches < now else 0
    move_batches(trainer, batches - done)
    if 0 < done < before:
        rank_zero_info(
            f"the number of batches per epoch has changed from {before} to {now}; the epoch "
            f"resumes after batch {batches} instead of {done}, so it may repeat or skip some "
            "examples"
        )


def own_files(state: dict[str, Any], callback: ModelCheckpoint, path: Path) -> dict[str, Any]:
    """Restricts the state of a ModelCheckpoint to the files in its own folder.

    The callback deletes checkpoints that are no longer among the best, wherever its state says that
    they are, so an untrusted state must not name other files. This also lets a run that was moved
    find its best checkpoint.

    Args:
        state: State of the callback in a checkpoint.
        callback: Callback whose state is about to be restored.
        path: Path of the checkpoint.

    Returns:
        The restricted state.
    """
    folder = Path(callback.dirpath or "")
    own = callback.state_dict()
    if state["dirpath"] != callback.dirpath and path.absolute().parent != folder.absolute():
        return own

    def moved(file: str) -> str:
        name = Path(file).name
        return str(folder / name) if name.endswith(".ckpt") else ""

    best = moved(state["best_model_path"])
    if not Path(best).is_file():
        return own
    files = {name: moved(state[name]) for name in state if name.endswith("_path")}
    kept = {moved(file): score for file, score in state["best_k_models"].items() if moved(file)}
    return {**state, **files, "best_k_models": kept, "dirpath": callback.dirpath}


def _log(trainer: Trainer) -> Log | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, Log)), None)
