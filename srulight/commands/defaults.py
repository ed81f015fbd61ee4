"""Adds to the trainer of every run its log, checkpoints and callbacks."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning import Callback
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Checkpoint,
    EarlyStopping,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
)
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO
from lightning_utilities.core.imports import module_available

from srulight.commands.runs import Resumed
from srulight.runtime.errors import InputError
from srulight.tasks.base import Task
from srulight.training.callbacks.epoch_line import EpochLine
from srulight.training.callbacks.plot_curves import PlotCurves
from srulight.training.callbacks.progress_bar import ProgressBar
from srulight.training.callbacks.stability import Stability
from srulight.training.callbacks.summary import Summary
from srulight.training.callbacks.throughput import Throughput
from srulight.training.logger import Log
from srulight.training.resume.checkpoint_format import POSITION
from srulight.training.resume.checkpoint_io import AtomicCheckpointIO, ReadCheckpointIO
from srulight.training.resume.last_checkpoint import LastCheckpoint
from srulight.training.resume.lightning_internals import check_after_validation
from srulight.training.resume.override_settings import OverrideSettings
from srulight.training.resume.random_state import RandomState
from srulight.training.resume.resume_position import ResumePosition

_EVERY_STEP = (
    "on_train_batch_start", "on_train_batch_end", "on_before_zero_grad", "on_before_backward",
    "on_after_backward", "on_before_optimizer_step",
)  # fmt: skip


def accelerator(given: Any) -> Any:  # noqa: ANN401
    """Returns the accelerator for the trainer.

    Args:
        given: Accelerator in the configuration. For "auto", the environment variable
            ``PL_TRAINER_ACCELERATOR`` decides, as usual in Lightning. If it is not set, a GPU is
            used if there is one.
    """
    if given != "auto":
        return given
    # Apple's GPUs lack float64, in which srulight sums losses.
    ours = "cpu" if MPSAccelerator.is_available() else "auto"
    return os.environ.get("PL_TRAINER_ACCELERATOR", ours)


def training_defaults(
    config: dict[str, Any],
    task: Task,
    resumed: Resumed | None,
    changes: dict[str, tuple[Any, Any]],
    log: Log | None,
    monitored: tuple[str, str],
) -> dict[str, Any]:
    """Returns the trainer's arguments for ``fit``.

    Args:
        config: Configuration of the trainer.
        task: Task to train.
        resumed: Checkpoint that the run resumes from, in the same folder; None for a new run.
        changes: Settings that differ from those of the checkpoint, with old and new value.
        log: Log of the run, which determines its folder; None if the run writes no files.
        monitored: Metric that selects the best checkpoint, and "max" or "min".

    Raises:
        InputError: If the configuration asks for something that srulight does not support.
    """
    given: list[Callback] = _listed(config["callbacks"])
    _refuse(config, given)
    arguments: dict[str, Any] = {"plugins": _plugins(config["plugins"])}
    logs = log is not None and config["logger"] is not False
    arguments["logger"] = _loggers(config["logger"], log, resumed) if logs and log else False
    # These must run before all other callbacks see a batch.
    first: list[Callback] = [RandomState(), ResumePosition()]
    last: list[Callback] = _bar(config, monitored[0])
    last += [
        Throughput(),
        OverrideSettings(changes),
        EpochLine(monitored[0]),
        PlotCurves(),
        Stability(),
    ]
    summaries = any(isinstance(callback, ModelSummary) for callback in given)
    if config["enable_model_summary"] in (None, True) and not summaries:
        last.append(Summary())
        arguments["enable_model_summary"] = False  # Lightning's table has a column of zeros
    if logs:
        scheduled = task.scheduler_factory is not None
        last.append(LearningRateMonitor("step" if scheduled else "epoch"))
    if log is not None and config["enable_checkpointing"] in (None, True):
        folder = Path(log.log_dir, "checkpoints")
        if config["limit_val_batches"] != 0:
            last.append(_best(monitored, folder))
        if not any(isinstance(callback, LastCheckpoint) for callback in given):
            first.append(LastCheckpoint(folder=str(folder)))
    ours = [callback for callback in given if isinstance(callback, LastCheckpoint)]
    others = [callback for callback in given if callback not in ours]
    callbacks = first + ours + others + last
    for callback in callbacks:
        _leave_out_idle_hooks(callback)
        if isinstance(callback, EarlyStopping) and callback.monitor.startswith("val/"):
            check_after_validation(callback)
    return arguments | {"callbacks": callbacks}


def _best(monitored: tuple[str, str], folder: Path) -> ModelCheckpoint:
    monitor, mode = monitored
    return ModelCheckpoint(
        folder, filename="best", monitor=monitor, mode=mode, enable_version_counter=False
    )


def _leave_out_idle_hooks(callback: Callback) -> None:
    """Disables the hooks that a callback does not implement.

    Lightning skips hooks that are not callable. A call takes microseconds, many times per step.
    """
    for name in _EVERY_STEP:
        if getattr(type(callback), name) is getattr(Callback, name):
            setattr(callback, name, None)


def evaluation_defaults(config: dict[str, Any], evaluated: Resumed | None) -> dict[str, Any]:
    """Returns the trainer's arguments for ``validate`` and ``test``, which have no loggers.

    Args:
        config: Configuration of the trainer.
        evaluated: Checkpoint that is evaluated; None if there is none.
    """
    kept = (Checkpoint, LastCheckpoint)
    given = [c for c in _listed(config["callbacks"]) if not isinstance(c, kept)]
    found = {"logger": False, "enable_checkpointing": False, "callbacks": given + _bar(config)}
    if evaluated is not None and evaluated.path.is_dir():
        # Lightning itself can only read a file.
        found["plugins"] = [*_listed(config["plugins"]), ReadCheckpointIO(evaluated.stored)]
    return found


def _bar(config: dict[str, Any], monitor: str | None = None) -> list[Callback]:
    shown = config["enable_progress_bar"] in (None, True)
    return [ProgressBar(monitor)] if shown else []


def _listed(given: Any) -> list[Any]:  # noqa: ANN401
    """Returns a list of the given objects: none, one or several."""
    if given is None:
        return []
    return list(given) if isinstance(given, Iterable) else [given]


def _plugins(given: Any) -> list[Any]:  # noqa: ANN401
    plugins = _listed(given)
    if any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        return plugins
    return [*plugins, AtomicCheckpointIO()]


def run_log(config: dict[str, Any], resumed: Resumed | None) -> Log | None:
    """Returns the log of a run, whose folder is that of the run.

    Args:
        config: Configuration of the trainer.
        resumed: Checkpoint that the run resumes from, in the same folder; None for a new run.

    Returns:
        The log; None if the run writes no files.
    """
    if config["fast_dev_run"]:
        return None
    # Lightning forgets the best checkpoint if a resumed run spells the path of its folder
    # differently.
    root = os.path.realpath(config["default_root_dir"])
    if resumed is None:
        return Log(root)
    rows = resumed.stored.get(POSITION, {}).get("rows", 0)
    # A run that resumes from the last checkpoint repeats the rows that are cut off. From another
    # checkpoint, it may take a different course: keep the old rows.
    aside = None if resumed.is_last else f"metrics-before-step-{resumed.stored['global_step']}.csv"
    return Log(root, resumed.folder.name, rows, aside)


def _loggers(given: Any, log: Log, resumed: Resumed | None) -> list[Logger]:  # noqa: ANN401
    """Returns the loggers of a run: first its log, which names the folder, then all others."""
    if given not in (None, True):
        return [log, *_listed(given)]
    if not module_available("tensorboard"):
        return [log]
    from lightning.pytorch.loggers import TensorBoardLogger

    # A resumed run repeats what was logged after the checkpoint.
    steps = None if resumed is None else resumed.stored["global_step"]
    return [log, TensorBoardLogger(log.root_dir, "", log.version, purge_step=steps)]


def _refuse(config: dict[str, Any], given: list[Callback]) -> None:
    if config["barebones"]:
        raise InputError(
            "trainer.barebones must be false, because srulight always keeps a log and checkpoints; "
            "set --trainer.fast_dev_run=100 to try 100 batches without writing files"
        )
    for callback in given:
        if isinstance(callback, BatchSizeFinder | LearningRateFinder):
            is_size = isinstance(callback, BatchSizeFinder)
            setting = "data.batch_size" if is_size else "model.optimizer.lr"
            raise InputError(
                f"trainer.callbacks must not contain {type(callback).__name__}, which would "
                f"change {setting} without updating the configuration in the checkpoints; remove "
                f"it, and try values of --{setting}, each with --trainer.max_steps=200"
            )
