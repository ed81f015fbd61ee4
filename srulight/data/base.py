"""What every data module promises."""

from abc import ABC, abstractmethod
from typing import Any

from lightning import LightningDataModule

from srulight.data.loading import ResumableLoader


class TaskData(LightningDataModule, ABC):
    """Data for a task, and what the task must know about them.

    A checkpoint holds the place in the training data, in batches of the pass under way.
    """

    _train_loader: ResumableLoader[Any] | None = None
    _restored: dict[str, Any] | None = None

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
    def use_metadata(self, metadata: dict[str, Any]) -> None:
        """Makes this module, before ``setup``, read as the one that a model was trained with.

        Args:
            metadata: That module's ``metadata``.
        """

    def training(self, loader: ResumableLoader[Any]) -> ResumableLoader[Any]:
        """Makes a loader the one whose place is kept; ``train_dataloader`` returns what this does.

        Args:
            loader: Loader of the training batches of this process.
        """
        if self._restored is not None:
            loader.load_state_dict(self._restored)
            self._restored = None
        self._train_loader = loader
        return loader

    def state_dict(self) -> dict[str, Any]:
        # Lightning keeps loaders' places itself, but loses them where a schedule asks for the
        # number of steps (2.6).
        if self._train_loader is None:
            return self._restored or {}
        return self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict or None
