"""Saves and restores the state of a task other than its weights."""

import inspect
from dataclasses import asdict, is_dataclass
from typing import Any, Protocol

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torchmetrics import Metric

from srulight.runtime.distributed import gather
from srulight.runtime.fields import path_of, with_short_paths
from srulight.runtime.structure import require_like
from srulight.training.resume.checkpoint_format import DROPPED, RECURRENT_STATE, TASK, TRAIN_LOSS


class Resumable(Protocol):
    """The parts of a task that hold its progress.

    Attributes:
        recurrent_state: State that training carries from batch to batch in this process, if any.
        train_loss: Mean loss in the current epoch so far.
    """

    recurrent_state: Tensor | None

    @property
    def train_loss(self) -> Metric: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def trainer(self) -> Trainer: ...


def save_settings(task: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Saves in a checkpoint the class and the arguments of a task, from which it can be rebuilt.

    Classes are saved by their shortest import path, which stays valid if their module moves within
    its package. Two kinds of arguments are left out: those that are not plain data, because a
    checkpoint must load without running code, and names with a leading underscore, from which
    Lightning would instantiate the task itself.

    Args:
        task: Task to save.
        checkpoint: Checkpoint that contains all arguments.
    """
    checkpoint[TASK] = path_of(type(task))
    arguments_given = {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in checkpoint.get("hyper_parameters", {}).items()
    }
    settings = {
        name: with_short_paths(value)
        for name, value in arguments_given.items()
        if _is_plain(value) and not name.startswith("_")
    }
    checkpoint["hyper_parameters"] = settings
    arguments = inspect.signature(type(task)).parameters
    checkpoint[DROPPED] = [name for name in arguments if name not in settings]


def save_progress(task: Resumable, checkpoint: dict[str, Any]) -> None:
    """Saves the progress of each process in a checkpoint; all processes must call this function.

    Args:
        task: Task whose progress is saved.
        checkpoint: Checkpoint to add it to.
    """
    state = task.recurrent_state
    checkpoint[RECURRENT_STATE] = gather(None if state is None else state.cpu())
    # With these sums, the mean at the end of the epoch covers the whole epoch.
    sums: dict[str, Any] = task.train_loss.metric_state
    checkpoint[TRAIN_LOSS] = gather({name: value.cpu() for name, value in sums.items()})


def restore_progress(task: Resumable, checkpoint: dict[str, Any]) -> None:
    """Restores the progress of this process from a checkpoint.

    Args:
        task: Task that is built and attached to a trainer.
        checkpoint: Checkpoint, which another number of processes may have saved.

    Raises:
        InputError: If the sums in the checkpoint do not match those of the task.
    """
    rank, processes = task.trainer.global_rank, task.trainer.world_size
    for state in checkpoint.get(TRAIN_LOSS, [])[rank::processes]:
        require_like(state, task.train_loss.metric_state, TRAIN_LOSS)
        task.train_loss.update(**{name: sums.to(task.device) for name, sums in state.items()})
    states = checkpoint.get(RECURRENT_STATE, [None])
    if len(states) == processes:
        task.recurrent_state = states[rank]
    elif states and states[0] is not None:
        rank_zero_info(
            f"the checkpoint was saved by {len(states)} processes, and this run has {processes}; "
            "the recurrent state starts from zero"
        )


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)
