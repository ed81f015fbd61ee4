"""The private parts of Lightning that srulight needs, and the only file that touches them.

Each is behind one function, which says why nothing public will do and where it was read: in
Lightning 2.6.6, below ``lightning/pytorch`` unless the path says otherwise. Compare them when
Lightning is upgraded; ``tests/training/resume`` fails if one that matters has changed.
"""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from torch.optim import Optimizer

# Documented under this name, though the module is private (torch 2.13).
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
"""Shape, as for ``structure.require``, of what a checkpoint holds of the loops.

Lightning takes it as it is (``loops/loop.py``, ``loops/progress.py``), also from a damaged file.
"""


class CommandLine(LightningCLI):
    """LightningCLI in which what the user says wins over the checkpoint."""

    def _parse_ckpt_path(self) -> None:
        """Does nothing; Lightning would put a checkpoint's settings over the user's (``cli.py``).

        There is no argument that turns it off.
        """


def trainer_of(module: LightningModule) -> Trainer | None:
    """Gives the trainer that a module is attached to, if any.

    ``module.trainer`` raises where there is none (``core/module.py``).
    """
    return module._trainer


def batches_done(trainer: Trainer) -> int:
    """Gives the batches of the epoch that are trained with, those after which a hook runs too.

    ``batch_idx`` of the hooks is not known outside of them (``loops/training_epoch_loop.py``).
    """
    counts: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    return int(counts.processed)


def move_batches(trainer: Trainer, shift: int) -> None:
    """Moves the place in the epoch, before it begins.

    Lightning restores the number of batches, which is wrong where an epoch has another number now
    (``loops/training_epoch_loop.py``).
    """
    counts: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    for name in ("ready", "started", "processed", "completed"):
        setattr(counts, name, getattr(counts, name) + shift)


def is_accumulating(trainer: Trainer) -> bool:
    """Tells whether there are gradients that are added up and not used yet.

    The trainer says how many are added up, and not where it is (``loops/fit_loop.py``).
    """
    return trainer.fit_loop._should_accumulate()


def end_restart(trainer: Trainer) -> None:
    """Ends the restart of a run once it trains again, as if it had never been stopped.

    Lightning ends it after the epoch, at whose end it would not look for a plateau. The public
    ``restarting`` stays true where ``max_steps`` is set, and sets that of all inner loops
    (``loops/fit_loop.py``).
    """
    trainer.fit_loop._restarting = False


def logged_steps(trainer: Trainer) -> int:
    """Gives the step that loggers are told.

    It is another number than ``global_step``, and loggers alone are told it
    (``loops/training_epoch_loop.py``).
    """
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def set_logged_steps(trainer: Trainer, steps: int) -> None:
    """Sets the step that loggers are told.

    After some restarts Lightning counts one too many (``loops/training_epoch_loop.py``, reset).
    """
    trainer.fit_loop.epoch_loop._batches_that_stepped = steps


def forget_validation(trainer: Trainer) -> None:
    """Lets no validation look begun, after one that :func:`mark_before_validation` made look so.

    Later checkpoints would go on in the middle of it (``loops/evaluation_loop.py``).
    """
    counts: Any = trainer.fit_loop.epoch_loop.val_loop.batch_progress.total
    counts.started = counts.processed = counts.completed = counts.ready


def mark_before_validation(checkpoint: dict[str, Any]) -> None:
    """Makes a checkpoint of within a validation look like one of just before it.

    Lightning then does it from its beginning, and would else leave out what was done of it, whose
    metrics are lost (``loops/evaluation_loop.py``, restarted_mid_evaluation).
    """
    validation = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    validation["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    validation["current"] = dict.fromkeys(validation["current"], 0)
    validation["is_last_batch"] = False


def mark_between_batches(checkpoint: dict[str, Any]) -> None:
    """Makes a checkpoint look like one of the end of a batch.

    That is what Lightning takes it for: nothing of the next batch, if it has begun, may be seen in
    it (``loops/training_epoch_loop.py``, update_restart_stage).
    """
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for counts in (batches["total"], batches["current"]):
        counts["ready"] = counts["started"] = counts["completed"]
    batches["is_last_batch"] = False


def mark_within_epoch(checkpoint: dict[str, Any]) -> None:
    """Makes a checkpoint of the end of an epoch that was cut short look like one within it.

    Lightning counts such an epoch as done (``loops/fit_loop.py``, on_advance_end).
    """
    mark_between_batches(checkpoint)
    for counts in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
        counts["processed"] -= 1


def mark_after_epoch(checkpoint: dict[str, Any]) -> None:
    """Makes a checkpoint of the end of an epoch look like one of before the next.

    Lightning sets the batches of the epoch to 0 only when the next begins
    (``loops/training_epoch_loop.py``, reset).
    """
    mark_between_batches(checkpoint)
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    batches["current"] = dict.fromkeys(batches["current"], 0)


def release_children(trainer: Trainer) -> None:
    """Lets this process end before the others that it began.

    They end as it does; Lightning would kill it when it sees that they did
    (``lightning/fabric/strategies/launchers/subprocess_script.py``).
    """
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.procs.clear()


def check_after_validation(callback: EarlyStopping) -> None:
    """Lets early stopping look at the end of a validation, unless it was said otherwise.

    Left to itself it would also look at the end of an epoch that was cut short and has no
    validation, and fail. Its argument is kept under a private name
    (``callbacks/early_stopping.py``).
    """
    callback._check_on_train_epoch_end = callback._check_on_train_epoch_end or False


def last_saved(callback: ModelCheckpoint) -> str:
    """Gives the last file that a callback wrote, whole; empty if there is none.

    Its public paths already name a file while it is being written, and it may never be
    (``callbacks/model_checkpoint.py``).
    """
    return callback._last_checkpoint_saved


def unscales_itself(optimizer: Optimizer) -> bool:
    """Tells whether an optimiser divides gradients by the loss's scale itself, within its step.

    torch says so by a private name, and Lightning asks the same way
    (``lightning/fabric/plugins/precision/amp.py``).
    """
    return getattr(optimizer, "_step_supports_amp_scaling", False)


def unscale_before_step(optimizer: Optimizer) -> None:
    """Lets gradients be divided by the loss's scale before an optimiser's step.

    They must be before they are clipped, and a fused optimiser would do it later: Lightning refuses
    that, in bfloat16, which has no scale, too (``plugins/precision/amp.py``).
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
