"""What every data module promises."""

from abc import ABC, abstractmethod
from typing import Any

from lightning import LightningDataModule

IGNORED = -100
"""Target that no prediction is asked for."""


class TaskData(LightningDataModule, ABC):
    """Data for a task, and what the task must know about them.

    A run resumes with the batch after the last one if ``train_dataloader`` gives a
    ``ResumableLoader``.
    """

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
