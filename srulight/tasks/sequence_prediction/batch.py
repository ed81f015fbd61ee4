"""Batches of sequences of numbers."""

from typing import NamedTuple

from torch import Tensor


class StepsBatch(NamedTuple):
    """A batch of sequences, or of the next segments of sequences.

    Attributes:
        inputs: Numeric features, (B, T, F) float32, padded on the right with 0.
        codes: Codes of the categorical features, (B, T, C) int64, padded on the right with 0.
        lengths: Number of steps of each sequence without padding, (B,) int64. In a segment, a
            sequence that has ended before has the length 0.
        targets: Targets of sequences, (B,) or (B, K), or of steps, (B, T) or (B, T, K): classes,
            int64, -100 where there is none; or labels and standardized numbers, float32, NaN where
            there is none.
        is_first: Whether the sequences begin with this batch; otherwise they continue the previous
            batch.
        is_segment: Whether this is a batch of segments; otherwise it has whole sequences.
    """

    inputs: Tensor
    codes: Tensor
    lengths: Tensor
    targets: Tensor
    is_first: bool
    is_segment: bool

    @property
    def size(self) -> int:
        """Size of the batch in its ``unit``."""
        return self.inputs.size(0) * self.inputs.size(1)

    @property
    def unit(self) -> str:
        """Unit in which the training speed is reported."""
        return "steps"
