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
        codes: Codes of the categorical features of all steps, (R, C), any type of integer.
        targets: Targets of the sequences, (N, ...), or of all steps, (R, ...): classes, any type of
            integer, or labels and standardized numbers, float32.
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
        self._starts = lengths.cumsum(0) - lengths
        self._missing = math.nan if targets.is_floating_point() else IGNORED

    def __getitems__(self, indices: list[int]) -> list[StepsBatch]:
        return [self.batch(indices)]

    def batch(self, indices: list[int], first: int = 0, steps: int | None = None) -> StepsBatch:
        """Makes a batch of whole sequences, or of the same segment of several sequences.

        Args:
            indices: Indices of the sequences. If there are none, the batch has one step without a
                target.
            first: First step of the segment.
            steps: Maximum number of steps of the segment; None for whole sequences.
        """
        if not indices:
            # The step is a real one, because pooling needs one.
            batch = self.batch([0], 0, 1)
            targets = torch.full_like(batch.targets, self._missing)
            return batch._replace(
                targets=targets, is_first=first == 0, is_segment=steps is not None
            )
        sequences = torch.tensor(indices)
        lengths = (self.lengths[sequences] - first).clamp(0, steps)
        steps_from_first = torch.arange(int(lengths.max()))
        real = steps_from_first < lengths[:, None]
        rows = (self._starts[sequences, None] + first + steps_from_first).where(real, 0)
        targets = self.targets[rows if self.per_step else sequences]
        if self.per_step:
            targets = targets.where(
                real.view(*real.shape, *[1] * (targets.dim() - 2)), self._missing
            )
        return StepsBatch(
            self.inputs[rows].where(real[..., None], 0),
            self.codes[rows].where(real[..., None], 0).long(),
            lengths,
            targets if targets.is_floating_point() else targets.long(),
            is_first=first == 0,
            is_segment=steps is not None,
        )


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
