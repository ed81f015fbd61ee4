"""Random numbers go on where they stopped."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from srulight.runtime.distributed import gather
from srulight.runtime.errors import InputError

KEY = "random_states"


class RandomState(Callback):
    """Keeps the state of torch's generators in every checkpoint, so that dropout goes on as it was.

    A checkpoint holds the states of every process: of the CPU's generator, and of its GPU's.
    """

    def __init__(self) -> None:
        self._state: dict[str, Tensor] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        device = trainer.strategy.root_device
        own = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            own["cuda"] = torch.cuda.get_rng_state(device)
        checkpoint[KEY] = gather(own)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        states = checkpoint.get(KEY, [])
        for state in states:
            _check(state["cpu"])
        if len(states) == trainer.world_size:
            self._state = states[trainer.global_rank]
        elif states:
            rank_zero_info(
                f"the checkpoint is of {len(states)} processes and this run has "
                f"{trainer.world_size}: dropout will differ from what it would have been"
            )

    # Not before: to build the model and to try out the validation draws numbers, too.
    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        self._go_on(trainer)

    # A run that stopped in the last validation has no batch before it saves again.
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._go_on(trainer)

    def _go_on(self, trainer: Trainer) -> None:
        if self._state is None:
            return
        torch.set_rng_state(self._state["cpu"])
        device = trainer.strategy.root_device
        if device.type == "cuda" and "cuda" in self._state:
            torch.cuda.set_rng_state(self._state["cuda"], device)
        self._state = None


def _check(state: Tensor) -> None:
    """Raises InputError if it is no state of the CPU's generator."""
    try:
        torch.Generator().set_state(state)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{KEY} in the checkpoint: {error}") from error
