"""Batches of sentences of similar length, in an order that can be repeated."""

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
        # Sorting by length within each pool: by length first, then, stably, by pool.
        by_length = self.lengths[order].argsort(stable=True)
        order = order[by_length][pool[by_length].argsort(stable=True)]

        # The ranks take neighbours, which are of similar length, so that none waits for another.
        chosen = steps * self.world_size + self.rank
        indices = order.tolist()
        for start, stop in zip(bounds[chosen].tolist(), bounds[chosen + 1].tolist(), strict=True):
            yield indices[start:stop]
