"""Applies changed settings of the optimizer and its schedule to a resumed run."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import LRScheduler

OPTIMIZER = "model.optimizer."
SCHEDULER = "model.scheduler."


class OverrideSettings(Callback):
    """Applies the settings that the user changed to a resumed optimizer and its schedule.

    Lightning restores the old settings together with the state. Without this callback, a new
    learning rate would have no effect.

    Args:
        changes: All settings that differ from those of the checkpoint, by name, with old and new
            value.
    """

    def __init__(self, changes: dict[str, tuple[Any, Any]]) -> None:
        self.optimizer, self.scheduler = (
            {
                name.removeprefix(prefix): new
                for name, (_, new) in changes.items()
                if name.startswith(prefix) and new is not None
            }
            for prefix in (OPTIMIZER, SCHEDULER)
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        settings = dict(self.optimizer)
        rate = settings.pop("lr", None)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group.update({k: v for k, v in settings.items() if k in group})
                if rate is not None:
                    # Keep the current ratio between the schedule's rate and the initial one.
                    started = group.get("initial_lr", 0)
                    group["lr"] = rate * (group["lr"] / started if started else 1)
                    if "initial_lr" in group:
                        group["initial_lr"] = rate
        for config in trainer.lr_scheduler_configs:
            scheduler = config.scheduler
            for name in self.scheduler.keys() & vars(scheduler).keys():
                setattr(scheduler, name, self.scheduler[name])
            if rate is not None and isinstance(scheduler, LRScheduler):
                scheduler.base_lrs = [rate] * len(scheduler.base_lrs)
