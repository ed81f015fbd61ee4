"""Callbacks that put something back when a resumed run trains on, and not before."""

from abc import ABC, abstractmethod
from typing import Any

from lightning import Callback, LightningModule, Trainer


class DeferredRestore(Callback, ABC):
    """Keeps what a checkpoint holds until the run is where it was when it was saved.

    That is at the first batch; or in the validation that ends an epoch, for a run that stopped in
    it, which may save again before it has a batch. What comes between the start and that changes
    what would be put back: to build the model and to try out the validation draw numbers, too.
    """

    def __init__(self) -> None:
        self._restored: Any = None

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        self._go_on(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._go_on(trainer)

    def _go_on(self, trainer: Trainer) -> None:
        if self._restored is not None:
            self.put_back(trainer, self._restored)
            self._restored = None

    @abstractmethod
    def put_back(self, trainer: Trainer, restored: Any) -> None:  # noqa: ANN401
        """Puts back what was kept.

        Args:
            trainer: Whose run goes on.
            restored: What ``on_load_checkpoint`` kept in ``self._restored``.
        """
