"""What every data module promises."""

from abc import ABC, abstractmethod
from typing import Any

from lightning import LightningDataModule

from srulight.data.resumable_loader import ResumableLoader
from srulight.runtime.errors import InputError

IGNORED = -100
"""Target that no prediction is asked for."""


class TaskData(LightningDataModule, ABC):
    """Data for a task, and what the task must know about them.

    A checkpoint holds the place in the training data, in batches of the pass under way.
    """

    _train_loader: ResumableLoader[Any] | None = None
    _place = 0

    @property
    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """What a task must know to read raw input as this module does: vocabulary, labels, ...

        Plain data (numbers, strings, lists and dictionaries), known after ``setup``. It travels in
        every checkpoint.

        Raises:
            RuntimeError: Before ``setup``.
        """

    @abstractmethod
    def load_metadata(self, metadata: dict[str, Any]) -> None:
        """Makes this module, before ``setup``, read as the one that a model was trained with.

        Args:
            metadata: That module's ``metadata``.
        """

    def track_loader(self, loader: ResumableLoader[Any]) -> ResumableLoader[Any]:
        """Makes a loader the one whose place is kept; ``train_dataloader`` returns what this does.

        Args:
            loader: Loader of the training batches of this process.
        """
        self._train_loader = loader
        self.begin_at(self._place)
        self._place = 0
        return loader

    def begin_at(self, place: int) -> None:
        """Lets the next pass over the training data begin at a batch, and later ones at the first.

        Args:
            place: Batches of the pass to leave out; a whole pass is none.
        """
        if self._train_loader is not None:
            self._train_loader.start = place if place < len(self._train_loader) else 0

    def state_dict(self) -> dict[str, Any]:
        # Lightning keeps loaders' places itself, but loses them where a schedule asks for the
        # number of steps (2.6).
        trainer = self.trainer
        if trainer is None or self._train_loader is None:
            return {}
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        place = progress.processed
        return {"place": 0 if place >= trainer.num_training_batches else place}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        place = state_dict.get("place", 0) if isinstance(state_dict, dict) else None
        if not isinstance(place, int) or place < 0:
            raise InputError(
                f"the place in the data must be a number of batches, got {place!r:.60}"
            )
        self._place = place
