"""The private parts of Lightning that srulight uses; no other file touches them.

Each is behind one function. Its docstring says why no public interface is sufficient, and names the
source file in Lightning 2.6.6, relative to ``lightning/pytorch`` unless stated otherwise. Compare
these places when you upgrade Lightning; ``tests/training/resume`` fails if one that matters has
changed.
"""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from torch.optim import Optimizer

# The class is documented, although its module is private (torch 2.13).
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode

_COUNTS = {"ready": int, "completed": int, "started?": int, "processed?": int, "*": int}
_ALL_COUNTS = {"ready": int, "completed": int, "started": int, "processed": int, "*": int}
_PROGRESS = {"total": _COUNTS, "current": _COUNTS}
_BATCHES = {"total": _ALL_COUNTS, "current": _ALL_COUNTS, "is_last_batch": bool}
_MEASURING = {"state_dict": dict, "batch_progress": _BATCHES}

LOOPS: dict[str, Any] = {
    "fit_loop": {
        "state_dict": {"combined_loader?": [dict]},
        "epoch_loop.state_dict": {"_batches_that_stepped": int},
        "epoch_loop.batch_progress": _BATCHES,
        "epoch_loop.scheduler_progress": _PROGRESS,
        "epoch_loop.automatic_optimization.optim_progress": {
            "optimizer": {"step": _PROGRESS, "zero_grad": _PROGRESS}
        },
        "epoch_loop.manual_optimization.optim_step_progress": _PROGRESS,
        "epoch_loop.val_loop.batch_progress": _BATCHES,
        "epoch_progress": {"total": _ALL_COUNTS, "current": _ALL_COUNTS},
    },
    "validate_loop": _MEASURING,
    "test_loop": _MEASURING,
    "predict_loop": {"state_dict": dict, "batch_progress": _PROGRESS},
}
"""Structure of the loops' states in a checkpoint, as ``structure.require`` describes it.

Lightning restores these states without checks (``loops/loop.py``, ``loops/progress.py``), even from
a damaged file.
"""


class CommandLine(LightningCLI):
    """LightningCLI in which the user's options override the checkpoint."""

    def _parse_ckpt_path(self) -> None:
        """Does nothing; in Lightning, a checkpoint overrides the user's options (``cli.py``).

        No argument disables that.
        """


def trainer_of(module: LightningModule) -> Trainer | None:
    """Returns the trainer that a module is attached to, or None.

    ``module.trainer`` raises an error if there is none (``core/module.py``).
    """
    return module._trainer


def batches_done(trainer: Trainer) -> int:
    """Returns the number of batches in the epoch so far, including one whose end hooks are running.

    The hooks' ``batch_idx`` is not available elsewhere (``loops/training_epoch_loop.py``).
    """
    counts: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    return int(counts.processed)


def move_batches(trainer: Trainer, shift: int) -> None:
    """Shifts the position in the epoch before a resumed run trains.

    Lightning restores the number of batches, which is wrong if the number of batches per epoch has
    changed (``loops/training_epoch_loop.py``).
    """
    counts: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    for name in ("ready", "started", "processed", "completed"):
        setattr(counts, name, getattr(counts, name) + shift)


def is_accumulating(trainer: Trainer) -> bool:
    """Returns whether there are accumulated gradients that no step has used yet.

    The trainer only tells how many batches a step accumulates (``loops/fit_loop.py``).
    """
    return trainer.fit_loop._should_accumulate()


def end_restart(trainer: Trainer) -> None:
    """Ends the restart of a run once it trains again, as if it had never been stopped.

    Lightning ends it after the epoch, at the end of which it would not step ``ReduceLROnPlateau``.
    The public ``restarting`` stays true if ``max_steps`` is set, and setting it also sets that of
    all inner loops (``loops/fit_loop.py``).
    """
    trainer.fit_loop._restarting = False


def logged_steps(trainer: Trainer) -> int:
    """Returns the number of steps that Lightning passes to loggers.

    It differs from ``global_step``, and only loggers receive it (``loops/training_epoch_loop.py``).
    """
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def set_logged_steps(trainer: Trainer, steps: int) -> None:
    """Sets the number of steps that Lightning passes to loggers.

    After some restarts, Lightning counts one step too many (``loops/training_epoch_loop.py``,
    reset).
    """
    trainer.fit_loop.epoch_loop._batches_that_stepped = steps


def forget_validation(trainer: Trainer) -> None:
    """Resets the progress of validation that ``mark_before_validation`` wrote to a checkpoint.

    Otherwise, runs that resume from later checkpoints would start within a validation
    (``loops/evaluation_loop.py``).
    """
    counts: Any = trainer.fit_loop.epoch_loop.val_loop.batch_progress.total
    counts.started = counts.processed = counts.completed = counts.ready


def mark_before_validation(checkpoint: dict[str, Any]) -> None:
    """Makes a checkpoint saved within a validation look like one saved just before it.

    Lightning then repeats the whole validation. Otherwise, it would skip the batches that are done,
    whose metrics are lost (``loops/evaluation_loop.py``, restarted_mid_evaluation).
    """
    validation = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    validation["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    validation["current"] = dict.fromkeys(validation["current"], 0)
    validation["is_last_batch"] = False


def mark_between_batches(checkpoint: dict[str, Any]) -> None:
    """Makes a checkpoint look like one saved at the end of a batch.

    Lightning expects this, so the checkpoint must not show that the next batch has started
    (``loops/training_epoch_loop.py``, update_restart_stage).
    """
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for counts in (batches["total"], batches["current"]):
        counts["ready"] = counts["started"] = counts["completed"]
    batches["is_last_batch"] = False


def mark_within_epoch(checkpoint: dict[str, Any]) -> None:
    """Makes a checkpoint saved at the end of an epoch that was cut short look like one within it.

    Lightning counts such an epoch as complete (``loops/fit_loop.py``, on_advance_end).
    """
    mark_between_batches(checkpoint)
    for counts in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
        counts["processed"] -= 1


def mark_after_epoch(checkpoint: dict[str, Any]) -> None:
    """Makes a checkpoint saved at the end of an epoch look like one saved before the next.

    Lightning resets the number of batches to 0 only when the next epoch starts
    (``loops/training_epoch_loop.py``, reset).
    """
    mark_between_batches(checkpoint)
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    batches["current"] = dict.fromkeys(batches["current"], 0)


def release_children(trainer: Trainer) -> None:
    """Lets this process exit before the processes that it started.

    The others exit by themselves, in the same way. Lightning would kill this process when it
    notices that they have (``lightning/fabric/strategies/launchers/subprocess_script.py``).
    """
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.procs.clear()


def check_after_validation(callback: EarlyStopping) -> None:
    """Makes early stopping check its metric after a validation, unless the user chose otherwise.

    By default, it would also check at the end of an epoch that was cut short and has no validation,
    and fail. It keeps its argument under a private name (``callbacks/early_stopping.py``).
    """
    callback._check_on_train_epoch_end = callback._check_on_train_epoch_end or False


def last_saved(callback: ModelCheckpoint) -> str:
    """Returns the last file that a callback has written completely, or an empty string.

    Its public paths name a file before it is written, which may fail
    (``callbacks/model_checkpoint.py``).
    """
    return callback._last_checkpoint_saved


def unscales_itself(optimizer: Optimizer) -> bool:
    """Returns whether an optimizer divides gradients by the loss scale itself, within its step.

    torch says so in a private attribute, which Lightning reads, too
    (``lightning/fabric/plugins/precision/amp.py``).
    """
    return getattr(optimizer, "_step_supports_amp_scaling", False)


def unscale_before_step(optimizer: Optimizer) -> None:
    """Makes Lightning divide gradients by the loss scale before the optimizer's step.

    This is necessary before clipping, but a fused optimizer does it later. Lightning therefore
    refuses to clip gradients with a fused optimizer, even in bfloat16, which has no loss scale
    (``plugins/precision/amp.py``).
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
