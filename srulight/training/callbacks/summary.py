"""Prints the number of parameters of a model before training."""

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import nn


class Summary(Callback):
    """Prints in a line how many parameters the model and each of its parts have."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parts = {
            f"{name} ({type(module).__name__})": _count(module)
            for name, module in pl_module.named_children()
        }
        listed = ", ".join(f"{name} {count:,}" for name, count in parts.items() if count)
        learning = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        total = _count(pl_module)
        learn = "" if learning == total else f", {learning:,} of them trainable"
        rank_zero_info(f"{total:,} parameters{learn}: {listed}")


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
