"""A resumed run goes on exactly where it was, in its batches, its metrics and its log."""

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
    """Keeps in every checkpoint where a run is, and mends what Lightning (2.6) forgets of it.

    - The number of batches in an epoch. Where it is another now (of processes, or of sentences in a
      batch), the run goes on at the same part of the epoch.
    - The metrics of the last epoch, which early stopping and ``ReduceLROnPlateau`` look at.
    - The rows of the log, which goes on after them.
    - The number of steps in the log, which Lightning counts wrongly after some restarts.
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
        # One that was made without them is good for measuring and predicting.
        needed = {"optimizer_states": list, "lr_schedulers": list}
        require(checkpoint, needed, f"{trainer.ckpt_path}, to go on from,")
        states = checkpoint.get("callbacks", {})
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            key = callback.state_key
            # What others keep is theirs to check.
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
        # Otherwise a plateau would not be looked for at the end of this epoch.
        end_restart(trainer)
        if "steps" in restored:
            set_logged_steps(trainer, restored["steps"])


def begin_loader(trainer: Trainer) -> None:
    """Lets the first epoch of a resumed run begin with the batch after the last one it had.

    Lightning keeps loaders' places itself, but loses them where a schedule asks for the number of
    steps.

    Args:
        trainer: It has restored its loops, and begins to train; another loader than a
            ``ResumableLoader`` stays as it is.
    """
    loader = trainer.train_dataloader
    if trainer.ckpt_path is not None and isinstance(loader, ResumableLoader):
        done = batches_done(trainer)
        # An epoch that is over has nothing left.
        loader.start = done if done < trainer.num_training_batches else 0


def _rescale(trainer: Trainer, before: int) -> None:
    """Finds the place in an epoch that has another number of batches than it had.

    Args:
        trainer: Where it is in the epoch, in batches of the checkpoint's.
        before: Batches that an epoch had.
    """
    done, now = batches_done(trainer), int(trainer.num_training_batches)
    if now == before or not isinstance(trainer.train_dataloader, ResumableLoader):
        return
    batches = done * now // max(1, before)
    batches -= batches % trainer.accumulate_grad_batches if batches < now else 0
    move_batches(trainer, batches - done)
    if 0 < done < before:
        rank_zero_info(
            f"an epoch had {before} batches and has {now} now: it goes on after {batches} of "
            f"them, where it was after {done}; some of its examples may come twice and some "
            "not at all"
        )


def own_files(state: dict[str, Any], callback: ModelCheckpoint, path: Path) -> dict[str, Any]:
    """Lets a callback that keeps checkpoints know of those in its own folder only.

    It deletes what is no longer among the best, with all that is in it, wherever the state says
    that it is. And a run that was moved finds its best again.

    Args:
        state: The callback's state in a checkpoint.
        callback: The callback.
        path: The checkpoint.
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
