"""Batches of examples of similar length, in an order that can be repeated."""

import math
from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

# Large enough to find neighbours in length, small enough to mix the examples.
_BATCHES_PER_POOL = 50


class SimilarLengthSampler(Sampler[list[int]]):
    """Groups examples of similar length into batches, the same number of batches on every rank.

    The order is a pure function of the seed, the epoch and the rank. Every example is used once an
    epoch, on one rank; only where there are fewer examples than ranks do some ranks have an empty
    batch. At each step all ranks together have the examples that one rank has whose batches are
    ``world_size`` times as large.

    Args:
        lengths: Steps in each example, (N,) int64, N at least 1.
        size: Size of a batch, as the subclass counts.
        shuffle: Mix examples and batches anew each epoch; otherwise batches go from short to long.
        seed: Number that decides the order, 0 or more.
        rank: Which of the processes this is.
        world_size: Processes that share the examples.

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
            raise ValueError("lengths must hold at least one example, got none")
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.lengths = lengths
        self.size = size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._batches = self._count()  # of each rank

    @abstractmethod
    def _count(self) -> int:
        """Counts the batches of a rank."""

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next pass.

        Args:
            epoch: Number of the pass, from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Counts the batches of this rank."""
        return self._batches

    def _drawn(self) -> tuple[Tensor, Tensor]:
        """Draws the order of the examples, (N,), and that of the batches of a rank."""
        if not self.shuffle:
            return torch.arange(len(self.lengths)), torch.arange(self._batches)
        # A stride that is prime keeps the seeds of nearby runs and epochs apart.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator)
        return order, torch.randperm(self._batches, generator=generator)

    def _by_length(self, order: Tensor, pool: Tensor) -> Tensor:
        """Sorts by pool, and by length within each."""
        # By length first, then, stably, by pool.
        by_length = self.lengths[order].argsort(stable=True)
        return order[by_length][pool[by_length].argsort(stable=True)]


class BucketBatchSampler(SimilarLengthSampler):
    """Batches of one size, give or take one example; ``size`` is the examples in one, at most."""

    def _count(self) -> int:
        return math.ceil(len(self.lengths) / (self.size * self.world_size))

    def __iter__(self) -> Iterator[list[int]]:
        """Gives the indices of the examples of each batch of this rank; none for an empty one."""
        order, steps = self._drawn()
        total = self._batches * self.world_size
        bounds = torch.arange(total + 1) * len(order) // total
        pool = torch.zeros_like(order)
        if self.shuffle:
            pool = torch.arange(total) // (_BATCHES_PER_POOL * self.world_size)
            pool = pool.repeat_interleave(bounds.diff())
        # The ranks take neighbours, which are of similar length, so that none waits for another.
        chosen = steps * self.world_size + self.rank
        indices = self._by_length(order, pool).tolist()
        for start, stop in zip(bounds[chosen].tolist(), bounds[chosen + 1].tolist(), strict=True):
            yield indices[start:stop]


class LengthBatchSampler(SimilarLengthSampler):
    """Batches that are about equally long in all; ``size`` is the steps in one, about.

    On average at most so many, or as many as the longest example has; a batch exceeds it by one
    example's length at most. All lengths must be positive.
    """

    def _count(self) -> int:
        if int(self.lengths.min()) < 1:
            raise ValueError("lengths must be positive, got one below 1")
        total = int(self.lengths.sum())
        # As long as the longest example at least: then some example ends in every stretch.
        wanted = math.ceil(total / (self.size * self.world_size))
        return max(1, min(wanted, total // int(self.lengths.max())))

    def __iter__(self) -> Iterator[list[int]]:
        """Gives the indices of the examples of each batch of this rank; none for an empty one."""
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
        """Cuts the examples, one after the other, into stretches of one length; (N,)."""
        ends = self.lengths[order].cumsum(0)
        return (ends * self._batches - 1) // ends[-1]
