"""Long sequences that are read in segments, one after the other."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from itertools import pairwise
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from srulight.data.base import BatchDataset, Split, TaskData
from srulight.data.resumable_loader import ResumableLoader

_T = TypeVar("_T")


class WholeDataset(BatchDataset[_T]):
    """A dataset of sequences that can be read whole or in segments."""

    def __getitems__(self, indices: list[int]) -> list[_T]:
        return [self.batch(indices)]

    @abstractmethod
    def batch(self, indices: list[int], first: int = 0, steps: int | None = None) -> _T:
        """Makes a batch of whole sequences, or of the same segment of several sequences.

        Args:
            indices: Indices of the sequences. If there are none, the batch has one step without a
                target.
            first: First step of the segment.
            steps: Maximum number of steps of the segment; None for whole sequences.
        """


class SegmentDataset(Dataset[_T], Generic[_T]):
    """Reads sequences segment by segment, with the indices that ``SegmentSampler`` returns.

    Args:
        whole: The sequences.
        segment_length: Number of steps per segment.
    """

    def __init__(self, whole: WholeDataset[_T], segment_length: int) -> None:
        self.whole = whole
        self.segment_length = segment_length

    def __getitems__(self, indices: list[int]) -> list[_T]:
        segment, *sequences = indices
        first = segment * self.segment_length
        return [self.whole.batch(sequences, first, self.segment_length)]


class SegmentSampler(Sampler[list[int]]):
    """Groups sequences of similar length, and iterates over the segments of each group.

    All segments of a group follow each other, so that the state of a recurrent encoder carries over
    from one batch to the next. The groups are the same in every epoch, only their order changes, so
    that each epoch has the same number of batches. It is the same on every rank.

    Args:
        lengths: Number of steps of each sequence, (N,) int64, with N at least 1.
        size: Maximum number of sequences per group on each rank.
        segment_length: Number of steps per segment.
        shuffle: Whether to shuffle the groups in each epoch.
        seed: Seed for the order, at least 0.
        rank: Rank of this process.
        world_size: Number of processes that share the sequences.
    """

    def __init__(
        self,
        lengths: Tensor,
        size: int,
        segment_length: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        order = lengths.argsort(stable=True).tolist()
        # As in BucketBatchSampler, the ranks together have the sequences of one large group.
        count = math.ceil(len(order) / (size * world_size))
        bounds = [i * len(order) // count for i in range(count + 1)]
        self._groups: list[tuple[list[int], int]] = []
        for start, stop in pairwise(bounds):
            together = order[start:stop]
            longest = int(lengths[together[-1]])
            segments = math.ceil(longest / segment_length)
            self._groups.append((together[rank::world_size], segments))

    def set_epoch(self, epoch: int) -> None:
        """Selects the order of an epoch.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Returns the number of batches of this rank."""
        return sum(segments for _, segments in self._groups)

    def __iter__(self) -> Iterator[list[int]]:
        """Iterates over this rank's batches: the number of the segment, and then the indices."""
        order = torch.arange(len(self._groups))
        if self.shuffle:
            # The prime factor gives nearby seeds and epochs different generators.
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(len(self._groups), generator=generator)
        for group in order.tolist():
            indices, segments = self._groups[group]
            for segment in range(segments):
                yield [segment, *indices]


def segment_loader(
    data: TaskData, dataset: WholeDataset[_T], split: Split, segment_length: int
) -> ResumableLoader[_T]:
    """Makes a loader of segments, of the sequences of this process.

    Args:
        data: The data module, which determines the size and the order of the batches.
        dataset: The sequences.
        split: "train", "val" or "test". Only training sequences are shuffled.
        segment_length: Number of steps per segment.
    """
    rank, world_size = data.processes
    sampler = SegmentSampler(
        dataset.lengths,
        data.batch_size if split == "train" else data.eval_batch_size,
        segment_length,
        shuffle=split == "train",
        seed=data.seed,
        rank=rank,
        world_size=world_size,
    )
    segments = SegmentDataset(dataset, segment_length)
    return ResumableLoader(segments, sampler, data.num_workers, data.seed)
