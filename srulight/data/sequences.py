"""Datasets of sequences with one target per sequence, or one per step."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from srulight.data.base import IGNORED, BatchDataset
from srulight.layers.masking import valid_steps


class SequenceBatch(NamedTuple):
    """A batch of padded sequences with targets.

    Attributes:
        inputs: Token ids, (B, T) int64, or features, (B, T, F); padded on the right with 0.
        lengths: Number of steps of each sequence without padding, (B,) int64.
        targets: Classes of sequences, (B,) int64, or of steps, (B, T) int64; -100 where there is
            no target. Or labels and numbers of sequences, (B, K) float32, NaN where there is none.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor

    @property
    def size(self) -> int:
        """Size of the batch in its ``unit``."""
        return len(self.lengths)

    @property
    def unit(self) -> str:
        """Unit in which the training speed is reported."""
        return "samples"


class SequenceDataset(BatchDataset[SequenceBatch]):
    """Sequences that are stored in one tensor, so that a batch is one indexing operation.

    Args:
        inputs: Token ids of each sequence, or its features, (T, F).
        targets: One target per sequence, (N,) int64 or (N, K) float32, or one class per step of
            each sequence.
    """

    def __init__(
        self,
        inputs: Sequence[Sequence[int] | Tensor],
        targets: Tensor | Sequence[Sequence[int]],
    ) -> None:
        steps = [torch.as_tensor(sequence) for sequence in inputs]
        self.lengths = torch.tensor([len(sequence) for sequence in steps], dtype=torch.long)
        self._starts = self.lengths.cumsum(0) - self.lengths
        self._inputs = torch.cat(steps) if steps else torch.zeros(0, dtype=torch.long)
        self._is_stepwise = not isinstance(targets, Tensor)
        self._targets = (
            targets
            if isinstance(targets, Tensor)
            else torch.tensor([t for target in targets for t in target], dtype=torch.long)
        )

    def __getitems__(self, indices: list[int]) -> list[SequenceBatch]:
        if not indices:  # an empty batch becomes one step without a target
            shape = (1, 1) if self._is_stepwise else (1, *self._targets.shape[1:])
            missing = math.nan if self._targets.is_floating_point() else IGNORED
            nothing = torch.full(shape, missing, dtype=self._targets.dtype)
            one = torch.zeros(1, 1, *self._inputs.shape[1:], dtype=self._inputs.dtype)
            return [SequenceBatch(one, torch.tensor([1]), nothing)]
        chosen = torch.tensor(indices)
        lengths = self.lengths[chosen]
        valid = valid_steps(lengths, int(lengths.max()))
        places = self._starts[chosen].unsqueeze(-1) + torch.arange(valid.size(1))  # (B, T)
        # The positions of the padding may lie beyond the end of the tensor.
        places.clamp_(max=len(self._inputs) - 1)
        inputs = self._inputs[places]
        inputs *= valid.view(*valid.shape, *[1] * (inputs.dim() - 2))
        if self._is_stepwise:
            return [
                SequenceBatch(inputs, lengths, self._targets[places].masked_fill(~valid, IGNORED))
            ]
        return [SequenceBatch(inputs, lengths, self._targets[chosen])]
