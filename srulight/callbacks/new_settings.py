"""Settings of the optimiser that change when a run is resumed."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import LRScheduler

PREFIX = "model.optimizer."


class NewSettings(Callback):
    """Gives a resumed optimiser the settings that the user changed.

    Restoring an optimiser restores its settings too, so that a new learning rate would be parsed,
    printed and forgotten.

    Args:
        changes: Names of all settings that differ from the checkpoint's, with old and new value.
    """

    def __init__(self, changes: dict[str, tuple[Any, Any]]) -> None:
        self.settings = {
            name.removeprefix(PREFIX): new
            for name, (_, new) in changes.items()
            if name.startswith(PREFIX) and new is not None
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group.update({k: v for k, v in self.settings.items() if k in group})
                if "lr" in self.settings and "initial_lr" in group:
                    group["initial_lr"] = self.settings["lr"]
        if "lr" in self.settings:
            for config in trainer.lr_scheduler_configs:
                scheduler = config.scheduler
                if isinstance(scheduler, LRScheduler):
                    scheduler.base_lrs = [self.settings["lr"]] * len(scheduler.base_lrs)
