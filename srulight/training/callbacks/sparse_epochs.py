"""Schedules sparse and dense epochs, and logs how much of the gradient the sparse ones use."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from srulight.ops import SparseProducts
from srulight.runtime.distributed import gather
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.structure import require


class SparseEpochs(Callback):
    """Trains the first epochs with sparse backward products, and the last ones with dense ones.

    The encoder determines what sparse products leave out (``sparse_backward``); without this
    callback they are sparse in all epochs. Dense epochs at the end repair what sparse ones missed
    (Structurally Sparsified Backward Propagation, arXiv 1806.00512).

    At the end of each epoch the callback logs ``train/kept_share``: the share of the rows, units
    or elements of the gradient that the products used, from 0 to 1, over all layers, steps and
    processes. Those whose gradient is zero do not count. Dense epochs have 1.

    The epoch alone determines which products are sparse, so that a run that resumes with this
    callback resumes exactly.

    Args:
        epochs: Number of sparse epochs at the beginning, at least 0. None means all.
        by_layer: Whether to log the share of each layer as well, as ``train/kept_share_0`` and so
            on, from the first layer to the last.

    Raises:
        InputError: If ``epochs`` is out of range, or if no encoder has sparse backward products.
    """

    def __init__(self, epochs: int | None = None, by_layer: bool = False) -> None:
        check_range(0, epochs=epochs)
        self._epochs = epochs
        self._by_layer = by_layer
        self._layers: list[SparseProducts] = []
        # Kept and total of each layer in each process, from a checkpoint.
        self._restored: list[list[list[int]]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._layers = [m for m in pl_module.modules() if isinstance(m, SparseProducts)]
        if not self._layers:
            raise InputError(
                "SparseEpochs: expected an encoder with sparse backward products, got none; set "
                "--model.encoder.sparse_backward.share below 1, or remove the callback"
            )
        self._restart()

    # Not only in on_train_epoch_start, which is not called for a run that resumes within an epoch.
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._schedule(trainer)
        # Another number of processes may have saved the checkpoint.
        for counts in self._restored[trainer.global_rank :: trainer.world_size]:
            for layer, (kept, total) in zip(self._layers, counts, strict=False):
                layer.kept, layer.total = layer.kept + kept, layer.total + total
        self._restored = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._schedule(trainer)
        self._restart()

    def _schedule(self, trainer: Trainer) -> None:
        for layer in self._layers:
            layer.active = self._epochs is None or trainer.current_epoch < self._epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        own = torch.tensor(self._counts(), dtype=torch.float64, device=pl_module.device)
        sums = trainer.strategy.reduce(own, reduce_op="sum")
        assert isinstance(sums, torch.Tensor)
        pl_module.log("train/kept_share", _share(sums.sum(0)))
        if self._by_layer:
            for i, layer in enumerate(sums):
                pl_module.log(f"train/kept_share_{i}", _share(layer))
        self._restart()

    def _restart(self) -> None:
        for layer in self._layers:
            layer.kept = layer.total = 0

    def _counts(self) -> list[list[int]]:
        return [[layer.kept, layer.total] for layer in self._layers]

    def state_dict(self) -> dict[str, Any]:
        return {"counts": gather(self._counts())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        require(state_dict, {"counts": [[[int]]]}, "the state of SparseEpochs")
        self._restored = state_dict["counts"]


def _share(counts: torch.Tensor) -> torch.Tensor:
    """Returns kept / total, (2,), or 1 if nothing was counted, as in a dense epoch."""
    kept, total = counts
    return torch.where(total > 0, kept / total.clamp(min=1), 1.0).float()
