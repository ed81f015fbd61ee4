"""Sequences in arrays that are mapped into memory, read whole or in segments."""

import math

import torch
from torch import Tensor

from srulight.data.base import IGNORED
from srulight.data.segments import WholeDataset
from srulight.tasks.sequence_prediction.batch import StepsBatch


class StepsDataset(WholeDataset[StepsBatch]):
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

    def batch(self, indices: list[int], first: int = 0, steps: int | None = None) -> StepsBatch:
        if not indices:
            # The step is a real one, because pooling needs one.
            batch = self.batch([0], 0, 1)
            targets = torch.full_like(batch.targets, self._missing)
            return batch._replace(
                targets=targets, is_first=first == 0, is_segment=steps is not None
            )
        sequences = torch.tensor(indices)
        lengths = (self.lengths[sequences] - first).clamp(0, steps)
        # Where all sequences of this process have ended before those of another, a step is padding.
        steps_from_first = torch.arange(max(1, int(lengths.max())))
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
