"""Batches of examples of similar length, in an order that can be repeated."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

# Large enough to find neighbours in length, small enough to mix the examples.
_BATCHES_PER_POOL = 50


class BucketBatchSampler(Sampler[list[int]]):
    """Groups examples of similar length into batches, the same number of batches on every rank.

    The order is a pure function of the seed, the epoch and the rank. Batches are of one size,
    give or take one example, and every example is used once an epoch, on one rank; only where there
    are fewer examples than ranks do some ranks have an empty batch. At each step all ranks together
    have the examples that one rank has whose batches are ``world_size`` times as large.

    Args:
        lengths: Words in each example, (N,) int64, N at least 1.
        batch_size: Examples in a batch, at most.
        shuffle: Mix examples and batches anew each epoch; otherwise batches go from short to long.
        seed: Number that decides the order, 0 or more.
        rank: Which of the processes this is.
        world_size: Processes that share the examples.

    Raises:
        ValueError: If there are no examples or ``batch_size`` is below 1.
    """

    def __init__(
        self,
        lengths: Tensor,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(lengths) < 1:
            raise ValueError("lengths must hold at least one example, got none")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.lengths = lengths
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._batches = math.ceil(len(lengths) / (batch_size * world_size))  # of each rank

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next pass.

        Args:
            epoch: Number of the pass, from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Counts the batches of this rank."""
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        """Gives the indices of the examples of each batch of this rank; none for an empty one."""
        total = self._batches * self.world_size
        # A stride that is prime keeps the seeds of nearby runs and epochs apart.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        steps = torch.arange(self._batches)
        if self.shuffle:
            order = torch.randperm(len(self.lengths), generator=generator)
            steps = torch.randperm(self._batches, generator=generator)
        else:
            order = torch.arange(len(self.lengths))

        bounds = torch.arange(total + 1) * len(order) // total
        if self.shuffle:
            pool = torch.arange(total) // (_BATCHES_PER_POOL * self.world_size)
            pool = pool.repeat_interleave(bounds.diff())
        else:
            pool = torch.zeros_like(order)
        order = _by_length(order, self.lengths, pool)

        # The ranks take neighbours, which are of similar length, so that none waits for another.
        chosen = steps * self.world_size + self.rank
        indices = order.tolist()
        for start, stop in zip(bounds[chosen].tolist(), bounds[chosen + 1].tolist(), strict=True):
            yield indices[start:stop]


class LengthBatchSampler(Sampler[list[int]]):
    """Groups examples of similar length into batches that are about equally long in all.

    The order is a pure function of the seed, the epoch and the rank. A pass has the same number of
    batches in every epoch and on every rank, and uses every example once, on one rank; a rank has
    an empty batch where there are fewer examples than ranks. At each step all ranks together have
    the examples that one rank has whose batches are ``world_size`` times as long.

    Args:
        lengths: Steps in each example, (N,) int64, N at least 1, all positive.
        batch_length: Steps in a batch, about: on average at most, or as many as the longest example
            has; a batch exceeds it by one example's length at most.
        shuffle: Mix examples and batches anew each epoch; otherwise batches go from short to long.
        seed: Number that decides the order, 0 or more.
        rank: Which of the processes this is.
        world_size: Processes that share the examples.

    Raises:
        ValueError: If there are no examples, or a length or ``batch_length`` is below 1.
    """

    def __init__(
        self,
        lengths: Tensor,
        batch_length: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(lengths) < 1 or int(lengths.min()) < 1:
            raise ValueError("lengths must hold at least one example, and only positive lengths")
        if batch_length < 1:
            raise ValueError(f"batch_length must be at least 1, got {batch_length}")
        self.lengths = lengths
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        total = int(lengths.sum())
        # As long as the longest example at least: then some example ends in every stretch.
        wanted = math.ceil(total / (batch_length * world_size))
        self._batches = max(1, min(wanted, total // int(lengths.max())))

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next pass.

        Args:
            epoch: Number of the pass, from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Counts the batches of this rank."""
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        """Gives the indices of the examples of each batch of this rank; none for an empty one."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        count = len(self.lengths)
        steps = torch.arange(self._batches)
        order = torch.arange(count)
        pool = torch.zeros_like(order)
        if self.shuffle:
            order = torch.randperm(count, generator=generator)
            steps = torch.randperm(self._batches, generator=generator)
            pool = self._batch_of(order) // _BATCHES_PER_POOL
        order = _by_length(order, self.lengths, pool)
        bounds = torch.searchsorted(self._batch_of(order), torch.arange(self._batches + 1))
        indices = order.tolist()
        for start, stop in zip(bounds[steps].tolist(), bounds[steps + 1].tolist(), strict=True):
            yield indices[start:stop][self.rank :: self.world_size]

    def _batch_of(self, order: Tensor) -> Tensor:
        """Cuts the examples, one after the other, into stretches of one length; (N,)."""
        ends = self.lengths[order].cumsum(0)
        return (ends * self._batches - 1) // ends[-1]


def _by_length(order: Tensor, lengths: Tensor, pool: Tensor) -> Tensor:
    """Sorts by pool, and by length within each."""
    # By length first, then, stably, by pool.
    by_length = lengths[order].argsort(stable=True)
    return order[by_length][pool[by_length].argsort(stable=True)]
