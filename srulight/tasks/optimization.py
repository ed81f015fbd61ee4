"""The optimizer of a task, and its learning-rate schedule."""

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
    """Builds an optimizer, which refuses a state that is not its own when a run is resumed.

    Args:
        parameters: What it trains; those that need no gradients are left out.
        build: Builds it; Adam with a learning rate of 0.001 if None.
        clips: Whether gradients are clipped.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    build = build or (lambda parameters: torch.optim.Adam(parameters, lr=1e-3, fused=True))
    try:
        optimizer = build(trained)
    except (ValueError, RuntimeError) as error:  # torch raises both for settings
        raise InputError(str(error)) from error
    optimizer.register_load_state_dict_pre_hook(check_optimizer)
    if clips:
        unscale_before_step(optimizer)
    return optimizer


def build_schedule(
    optimizer: torch.optim.Optimizer, build: LRSchedulerCallable
) -> tuple[OptimizerLRScheduler, dict[str, Any]]:
    """Builds a schedule that is stepped after every batch; ReduceLROnPlateau after every epoch.

    Args:
        optimizer: What it schedules.
        build: Builds it.

    Returns:
        What Lightning wants to know of both, and the state of the schedule, which is new.

    Raises:
        InputError: If a setting cannot be used.
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
            "torch's ReduceLROnPlateau does not say which metric it watches: use "
            "lightning.pytorch.cli.ReduceLROnPlateau and its option monitor"
        )
    whole: Any = {"optimizer": optimizer, "lr_scheduler": config}
    return whole, scheduler.state_dict()
