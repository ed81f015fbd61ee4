"""Sequences in arrays that are mapped into memory, read whole or in segments."""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from srulight.data.base import IGNORED, BatchDataset
from srulight.tasks.sequence_prediction.batch import StepsBatch


class StepsDataset(BatchDataset[StepsBatch]):
    """Sequences of a part of a corpus, one after the other.

    Args:
        inputs: Numeric features of all steps, (R, F) float32.
        codes: Codes of the categorical features of all steps, (R, C) int64.
        targets: Targets of the sequences, (N, ...), or of all steps, (R, ...).
        lengths: Number of steps of each sequence, (N,) int64.
        per_step: Whether each step has a target.
    """

    def __init__(
        self, inputs: Tensor, codes: Tensor, targets: Tensor, lengths: Tensor, per_step: bool
    ) -> None:
        self.inputs = inputs
        self.codes = codes
        self.targets = targets
        self.lengths = lengths
        self.per_step = per_step
        self._starts = (lengths.cumsum(0) - lengths).tolist()
        self._ends = lengths.cumsum(0).tolist()

    def __getitems__(self, indices: list[int]) -> list[StepsBatch]:
        longest = int(self.lengths[indices].max()) if indices else 1
        return [self.segment(indices, 0, longest)]

    def segment(self, indices: list[int], first: int, steps: int) -> StepsBatch:
        """Makes a batch of the same segment of several sequences.

        Args:
            indices: Indices of the sequences. If there are none, the batch has one step without a
                target.
            first: First step of the segment.
            steps: Number of steps of the segment, at most.
        """
        begins = [self._starts[i] + first for i in indices] or [0]
        ends = [min(b + steps, self._ends[i]) for b, i in zip(begins, indices, strict=False)] or [0]
        counts = [max(0, end - begin) for begin, end in zip(begins, ends, strict=True)]
        rows, steps = len(counts), max(1, *counts)
        inputs = torch.zeros(rows, steps, self.inputs.size(1))
        codes = torch.zeros(rows, steps, self.codes.size(1), dtype=torch.int64)
        shape = (rows, steps) if self.per_step else (rows,)
        missing = math.nan if self.targets.is_floating_point() else IGNORED
        targets = torch.full((*shape, *self.targets.shape[1:]), missing, dtype=self.targets.dtype)
        for row, (begin, count) in enumerate(zip(begins, counts, strict=True)):
            inputs[row, :count] = self.inputs[begin : begin + count]
            codes[row, :count] = self.codes[begin : begin + count]
            if self.per_step:
                targets[row, :count] = self.targets[begin : begin + count]
        if not self.per_step and indices:
            targets = self.targets[indices]
        # Without sequences, the only step is real, because pooling needs one.
        lengths = torch.tensor(counts if indices else [1])
        return StepsBatch(inputs, codes, lengths, targets, first == 0)


class SegmentDataset(Dataset[StepsBatch]):
    """Reads sequences segment by segment, with the indices that ``SegmentSampler`` returns.

    Args:
        whole: The sequences.
        segment_length: Number of steps per segment.
    """

    def __init__(self, whole: StepsDataset, segment_length: int) -> None:
        self.whole = whole
        self.segment_length = segment_length

    def __getitems__(self, indices: list[int]) -> list[StepsBatch]:
        segment, *sequences = indices
        first = segment * self.segment_length
        return [self.whole.segment(sequences, first, self.segment_length)]


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
