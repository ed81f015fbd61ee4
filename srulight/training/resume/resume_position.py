"""A resumed run goes on exactly where it was, in its batches, its metrics and its log."""

from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from srulight.data.base import TaskData
from srulight.runtime.structure import require, require_like
from srulight.training.logger import Log

KEY = "place"


class ResumePosition(Callback):
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
                    states[key] = _own_files(states[key], callback, Path(trainer.ckpt_path or ""))
                    require(states[key], {"best_k_models?": {"*": Tensor}}, where)

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


def _own_files(state: dict[str, Any], callback: ModelCheckpoint, path: Path) -> dict[str, Any]:
    """Lets a callback that keeps checkpoints know of those in its own folder only.

    It deletes what is no longer among the best, with all that is in it, wherever the state says
    that it is. And a run that was moved finds its best again.
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
