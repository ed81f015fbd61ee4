"""The optimizer and the learning-rate schedule of a task."""

from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from srulight.runtime.errors import InputError
from srulight.training.resume.lightning_internals import unscale_before_step
from srulight.training.resume.restoring import check_optimizer


def build_optimizer(
    parameters: Iterable[nn.Parameter], build: OptimizerCallable | None, clips: bool
) -> torch.optim.Optimizer:
    """Builds an optimizer that checks the state it is given when a run resumes.

    Args:
        parameters: Parameters to train; those without gradients are left out.
        build: Builds the optimizer from the parameters; Adam with a learning rate of 0.001 if None.
        clips: Whether gradients are clipped.

    Raises:
        InputError: If the optimizer rejects a setting.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    build = build or (lambda parameters: torch.optim.Adam(parameters, lr=1e-3, fused=True))
    try:
        optimizer = build(trained)
    except (ValueError, RuntimeError) as error:  # torch raises either one for a wrong setting
        raise InputError(str(error)) from error
    optimizer.register_load_state_dict_pre_hook(check_optimizer)
    if clips:
        unscale_before_step(optimizer)
    return optimizer


def build_schedule(
    optimizer: torch.optim.Optimizer, build: LRSchedulerCallable
) -> tuple[OptimizerLRScheduler, dict[str, Any]]:
    """Builds a learning-rate schedule.

    The schedule is stepped after every batch, ReduceLROnPlateau after every epoch.

    Args:
        optimizer: Optimizer whose learning rate is scheduled.
        build: Builds the schedule from the optimizer.

    Returns:
        The configuration of both for Lightning, and the initial state of the schedule.

    Raises:
        InputError: If the schedule rejects a setting.
    """
    try:
        scheduler = build(optimizer)
    except (ValueError, RuntimeError) as error:
        raise InputError(str(error)) from error
    config: dict[str, Any] = {"scheduler": scheduler, "interval": "step"}
    if isinstance(scheduler, ReduceLROnPlateau):
        config |= {"interval": "epoch", "monitor": scheduler.monitor, "strict": True}
    elif isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise InputError(
            "torch's ReduceLROnPlateau does not say which metric it monitors; use "
            "lightning.pytorch.cli.ReduceLROnPlateau and set its monitor"
        )
    whole: Any = {"optimizer": optimizer, "lr_scheduler": config}
    return whole, scheduler.state_dict()
