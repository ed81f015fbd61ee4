"""What a checkpoint holds of a task beside its weights."""

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
    """A task, as far as its progress goes.

    Attributes:
        recurrent_state: What the training of this process carries from batch to batch, if anything.
        train_loss: The mean of the losses of the epoch so far.
    """

    recurrent_state: Tensor | None

    @property
    def train_loss(self) -> Metric: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def trainer(self) -> Trainer: ...


def save_settings(task: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Puts in a checkpoint what makes the task again: its class, and its arguments.

    Classes go by the shortest path by which they are imported, which outlives a move of their file.
    What is no plain data is left out, as code cannot travel in a file that loads without running
    any; and what begins with a line below, by which Lightning alone would build the task.

    Args:
        task: The task.
        checkpoint: The checkpoint, with all arguments.
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
    """Puts in a checkpoint what each process is in the middle of; all processes must call this.

    Args:
        task: The task.
        checkpoint: The checkpoint.
    """
    state = task.recurrent_state
    checkpoint[RECURRENT_STATE] = gather(None if state is None else state.cpu())
    # The sums of this epoch, of each process: its mean is that of the whole epoch in the end.
    sums: dict[str, Any] = task.train_loss.metric_state
    checkpoint[TRAIN_LOSS] = gather({name: value.cpu() for name, value in sums.items()})


def restore_progress(task: Resumable, checkpoint: dict[str, Any]) -> None:
    """Lets each process go on with what it was in the middle of.

    Args:
        task: The task; it is built, and has a trainer.
        checkpoint: The checkpoint, which may be of another number of processes.

    Raises:
        InputError: If the sums in it are none of the task's.
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
            f"the checkpoint is of {len(states)} processes and this run has {processes}: the text "
            "under way is read on without a memory of what came before"
        )


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)
