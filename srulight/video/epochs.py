"""Tells a data set which epoch a batch belongs to."""

from collections.abc import Iterator
from typing import Any, TypeVar

from torch.utils.data import Dataset, Sampler

_T = TypeVar("_T")


class EpochSampler(Sampler[list[int]]):
    """Puts the number of the epoch in front of the indices of each batch.

    Args:
        batches: Index lists of an epoch; must have a length, and may have ``set_epoch``.
    """

    def __init__(self, batches: Any) -> None:  # noqa: ANN401
        self.batches = batches
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Selects the order of an epoch.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self.epoch = epoch
        self.batches.set_epoch(epoch)

    def __len__(self) -> int:
        """Returns the number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        """Iterates over the batches: the number of the epoch, and then the indices."""
        for indices in self.batches:
            yield [self.epoch, *indices]


class Epochs(Dataset[_T]):
    """Tells clips their epoch, with the indices that ``EpochSampler`` returns.

    Args:
        dataset: Dataset that takes the indices.
        clips: The clips, whose ``epoch`` is set.
    """

    def __init__(self, dataset: Any, clips: Any) -> None:  # noqa: ANN401
        self.dataset = dataset
        self.clips = clips

    def __getitems__(self, indices: list[int]) -> list[_T]:
        self.clips.epoch, *rest = indices
        return self.dataset.__getitems__(rest)
