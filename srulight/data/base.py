"""What every data module promises."""

from abc import ABC, abstractmethod
from typing import Any

from lightning import LightningDataModule


class TaskData(LightningDataModule, ABC):
    """Data for a task, and what the task must know about them."""

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
