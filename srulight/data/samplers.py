"""Samplers that group examples of similar length into batches, in a reproducible order."""

import math
from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

# Large enough to find examples of similar length, small enough to shuffle well.
_BATCHES_PER_POOL = 50


class SimilarLengthSampler(Sampler[list[int]]):
    """Groups examples of similar length into batches, the same number of batches on every rank.

    The order depends only on the seed, the epoch and the rank. Each example is used exactly once
    per epoch, on one rank. Some ranks have an empty batch only if there are fewer examples than
    ranks. At each step, the ranks together have the same examples as a single rank whose batches
    are ``world_size`` times as large.

    Args:
        lengths: Number of steps of each example, (N,) int64, with N at least 1.
        size: Size of a batch on each rank; the subclass defines how it is counted.
        shuffle: Whether to shuffle examples and batches in each epoch; otherwise the batches are in
            order of increasing length.
        seed: Seed for the order, at least 0.
        rank: Rank of this process.
        world_size: Number of processes that share the examples.

    Raises:
        ValueError: If there are no examples or ``size`` is below 1.
    """

    def __init__(
        self,
        lengths: Tensor,
        size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(lengths) < 1:
            raise ValueError("lengths must have at least one element, got none")
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.lengths = lengths
        self.size = size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._batches = self._count()  # number of batches of each rank

    @abstractmethod
    def _count(self) -> int:
        """Computes the number of batches of each rank."""

    def set_epoch(self, epoch: int) -> None:
        """Selects the order of an epoch.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Returns the number of batches of this rank."""
        return self._batches

    def _drawn(self) -> tuple[Tensor, Tensor]:
        """Draws the order of the examples, (N,), and of the batches of each rank."""
        if not self.shuffle:
            return torch.arange(len(self.lengths)), torch.arange(self._batches)
        # The prime factor gives nearby seeds and epochs different generators.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator)
        return order, torch.randperm(self._batches, generator=generator)

    def _by_length(self, order: Tensor, pool: Tensor) -> Tensor:
        """Sorts examples by pool, and by length within each pool."""
        # A stable sort by pool keeps the order by length.
        by_length = self.lengths[order].argsort(stable=True)
        return order[by_length][pool[by_length].argsort(stable=True)]


class BucketBatchSampler(SimilarLengthSampler):
    """Makes batches of equal size, up to one example.

    ``size`` is the maximum number of examples in a batch.
    """

    def _count(self) -> int:
        return math.ceil(len(self.lengths) / (self.size * self.world_size))

    def __iter__(self) -> Iterator[list[int]]:
        """Iterates over this rank's batches as lists of indices, which may be empty."""
        order, steps = self._drawn()
        total = self._batches * self.world_size
        bounds = torch.arange(total + 1) * len(order) // total
        pool = torch.zeros_like(order)
        if self.shuffle:
            pool = torch.arange(total) // (_BATCHES_PER_POOL * self.world_size)
            pool = pool.repeat_interleave(bounds.diff())
        # The ranks take adjacent batches of similar length, so that no rank waits for another.
        chosen = steps * self.world_size + self.rank
        indices = self._by_length(order, pool).tolist()
        for start, stop in zip(bounds[chosen].tolist(), bounds[chosen + 1].tolist(), strict=True):
            yield indices[start:stop]


class LengthBatchSampler(SimilarLengthSampler):
    """Makes batches with about ``size`` steps each, counted over all of their examples.

    The average is at most ``size``, or the length of the longest example if that is more. A batch
    exceeds this value by at most the length of one example. All lengths must be positive.
    """

    def _count(self) -> int:
        if (shortest := int(self.lengths.min())) < 1:
            raise ValueError(f"lengths must be at least 1, got {shortest}")
        total = int(self.lengths.sum())
        # With batches at least as long as the longest example, no batch is empty.
        wanted = math.ceil(total / (self.size * self.world_size))
        return max(1, min(wanted, total // int(self.lengths.max())))

    def __iter__(self) -> Iterator[list[int]]:
        """Iterates over this rank's batches as lists of indices, which may be empty."""
        order, steps = self._drawn()
        pool = torch.zeros_like(order)
        if self.shuffle:
            pool = self._batch_of(order) // _BATCHES_PER_POOL
        order = self._by_length(order, pool)
        bounds = torch.searchsorted(self._batch_of(order), torch.arange(self._batches + 1))
        indices = order.tolist()
        for start, stop in zip(bounds[steps].tolist(), bounds[steps + 1].tolist(), strict=True):
            yield indices[start:stop][self.rank :: self.world_size]

    def _batch_of(self, order: Tensor) -> Tensor:
        """Assigns consecutive examples to batches of equal length in steps, (N,)."""
        ends = self.lengths[order].cumsum(0)
        return (ends * self._batches - 1) // ends[-1]
