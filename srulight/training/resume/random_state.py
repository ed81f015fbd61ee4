"""Restores the random number generators of a resumed run."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from srulight.runtime.distributed import gather
from srulight.runtime.errors import InputError
from srulight.training.resume.checkpoint_format import RANDOM_STATES
from srulight.training.resume.deferred import DeferredRestore


class RandomState(DeferredRestore):
    """Saves and restores torch's random number generators, so that dropout continues exactly.

    A checkpoint contains the states of every process: of its generators on the CPU and on its GPU.
    """

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        device = trainer.strategy.root_device
        own = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            own["cuda"] = torch.cuda.get_rng_state(device)
        checkpoint[RANDOM_STATES] = gather(own)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        states = checkpoint.get(RANDOM_STATES, [])
        for state in states:
            _check(state["cpu"])
        if len(states) == trainer.world_size:
            self._restored = states[trainer.global_rank]
        elif states:
            rank_zero_info(
                f"the checkpoint was saved by {len(states)} processes, and this run has "
                f"{trainer.world_size}; dropout will differ from that of an uninterrupted run"
            )

    def put_back(self, trainer: Trainer, restored: dict[str, Tensor]) -> None:
        torch.set_rng_state(restored["cpu"])
        device = trainer.strategy.root_device
        if device.type == "cuda" and "cuda" in restored:
            torch.cuda.set_rng_state(restored["cuda"], device)


def _check(state: Tensor) -> None:
    """Raises InputError if a tensor is not a state of the CPU's generator."""
    try:
        torch.Generator().set_state(state)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{RANDOM_STATES} in the checkpoint: {error}") from error
