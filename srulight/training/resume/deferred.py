"""Callbacks that restore a state only when a resumed run continues to train."""

from abc import ABC, abstractmethod
from typing import Any

from lightning import Callback, LightningModule, Trainer


class DeferredRestore(Callback, ABC):
    """Defers restoring a state until the run is where it was when the checkpoint was saved.

    This is the first batch. For a run that stopped in the validation at the end of an epoch, it is
    the start of that validation, because the run may save another checkpoint before its first
    batch. A state that was restored earlier would change again: building the model and the sanity
    check of the validation, for example, draw random numbers.
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
        self._restore(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._restore(trainer)

    def _restore(self, trainer: Trainer) -> None:
        if self._restored is not None:
            self.put_back(trainer, self._restored)
            self._restored = None

    @abstractmethod
    def put_back(self, trainer: Trainer, restored: Any) -> None:  # noqa: ANN401
        """Restores the deferred state.

        Args:
            trainer: Trainer of the resumed run.
            restored: State that ``on_load_checkpoint`` stored in ``self._restored``.
        """
