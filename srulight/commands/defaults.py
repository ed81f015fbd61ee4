"""What every run has beside what its configuration asks for: a log, checkpoints, callbacks."""

import os
from pathlib import Path
from typing import Any

from lightning import Callback
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.callbacks import (
    Checkpoint,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
)
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO
from lightning_utilities.core.imports import module_available

from srulight.callbacks import (
    Bar,
    Curves,
    EpochLine,
    LastCheckpoint,
    NewSettings,
    Place,
    RandomState,
    Stability,
    Summary,
    Throughput,
)
from srulight.callbacks.place import KEY
from srulight.commands.runs import Resumed
from srulight.logs import Log
from srulight.storage import WholeCheckpoints
from srulight.tasks import Task

_EVERY_STEP = (
    "on_train_batch_start", "on_train_batch_end", "on_before_zero_grad", "on_before_backward",
    "on_after_backward", "on_before_optimizer_step",
)  # fmt: skip


def accelerator(given: Any) -> Any:  # noqa: ANN401
    """Gives what computes.

    Args:
        given: What the configuration says: "auto" is what PL_TRAINER_ACCELERATOR says, as wherever
            Lightning trains, and else a GPU if there is one.
    """
    if given != "auto":
        return given
    # Apple's have no float64, in which losses are summed.
    ours = "cpu" if MPSAccelerator.is_available() else "auto"
    return os.environ.get("PL_TRAINER_ACCELERATOR", ours)


def for_training(
    config: dict[str, Any],
    task: Task,
    resumed: Resumed | None,
    changes: dict[str, tuple[Any, Any]],
) -> dict[str, Any]:
    """Gives the trainer's arguments for ``fit``.

    Args:
        config: What the configuration says of the trainer.
        task: What is trained.
        resumed: The run that goes on; None for a new one.
        changes: Settings that differ from the checkpoint's, with old and new value.
    """
    given: list[Callback] = config["callbacks"] or []
    arguments: dict[str, Any] = {"plugins": _plugins(config["plugins"])}
    if config["logger"] in (None, True):
        arguments["logger"] = _loggers(config["default_root_dir"], resumed)
    # These see a batch before anything else has happened to it.
    first: list[Callback] = [RandomState(), Place()]
    last: list[Callback] = _bar(config)
    last += [Throughput(), NewSettings(changes), EpochLine(task.monitor[0]), Curves(), Stability()]
    summaries = any(isinstance(callback, ModelSummary) for callback in given)
    if config["enable_model_summary"] in (None, True) and not summaries:
        last.append(Summary())
        arguments["enable_model_summary"] = False  # Lightning's has a column of zeros
    if config["logger"] is not False:
        scheduled = task.scheduler_factory is not None
        last.append(LearningRateMonitor("step" if scheduled else "epoch"))
    if config["enable_checkpointing"] in (None, True):
        if config["limit_val_batches"] != 0:
            folder = None if resumed is None else resumed.path.parent
            last.append(_best(task, folder))
        if not any(isinstance(callback, LastCheckpoint) for callback in given):
            first.append(LastCheckpoint())
    ours = [callback for callback in given if isinstance(callback, LastCheckpoint)]
    others = [callback for callback in given if callback not in ours]
    callbacks = first + ours + others + last
    for callback in callbacks:
        _leave_out_idle_hooks(callback)
    return arguments | {"callbacks": callbacks}


def _best(task: Task, folder: Path | None) -> ModelCheckpoint:
    monitor, mode = task.monitor
    return ModelCheckpoint(
        folder, filename="best", monitor=monitor, mode=mode, enable_version_counter=False
    )


def _leave_out_idle_hooks(callback: Callback) -> None:
    """Spares Lightning the calls of what a callback does not do.

    It skips what cannot be called, and otherwise takes microseconds for each, many times a step.
    """
    for name in _EVERY_STEP:
        if getattr(type(callback), name) is getattr(Callback, name):
            setattr(callback, name, None)


def for_measuring(config: dict[str, Any]) -> dict[str, Any]:
    """Gives the trainer's arguments for ``validate`` and ``test``, which keep nothing.

    Args:
        config: What the configuration says of the trainer.
    """
    kept = (Checkpoint, LastCheckpoint)
    given = [c for c in config["callbacks"] or [] if not isinstance(c, kept)]
    return {
        "logger": False,
        "enable_checkpointing": False,
        "callbacks": given + _bar(config),
    }


def _bar(config: dict[str, Any]) -> list[Callback]:
    shown = config["enable_progress_bar"] in (None, True)
    return [Bar()] if shown else []


def _plugins(given: Any) -> list[Any]:  # noqa: ANN401
    plugins = list(given) if isinstance(given, list | tuple) else [given] if given else []
    if any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        return plugins
    return [*plugins, WholeCheckpoints()]


def _loggers(root: str, resumed: Resumed | None) -> list[Logger]:
    # Lightning forgets which checkpoint is the best if a resumed run spells its folder otherwise.
    root = os.path.realpath(root)
    if resumed is None:
        log, steps = Log(root), None
    else:
        steps = resumed.stored["global_step"]
        rows = resumed.stored.get(KEY, {}).get("rows", 0)
        # From the last checkpoint all that is cut off comes again; from another it need not.
        aside = None if resumed.is_last else f"metrics-before-step-{steps}.csv"
        log = Log(root, resumed.folder.name, rows, aside)
    loggers: list[Logger] = [log]
    if module_available("tensorboard"):
        from lightning.pytorch.loggers import TensorBoardLogger

        # What was logged after the checkpoint comes again.
        loggers.append(TensorBoardLogger(root, name="", version=log.version, purge_step=steps))
    return loggers
