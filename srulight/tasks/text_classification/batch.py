"""A batch of labelled sentences."""

from typing import NamedTuple

from torch import Tensor

from srulight.text.tokenizers import PAD, UNKNOWN

SPECIALS = (PAD, UNKNOWN)
"""Special tokens of the vocabulary; their ids are 0 and 1."""

UNKNOWN_INDEX = 1


class TextBatch(NamedTuple):
    """Padded sentences with one label each.

    Attributes:
        tokens: Word indices, (B, T) int64, padded on the right with 0.
        lengths: Real words per sentence, (B,) int64.
        labels: Class of each sentence, (B,) int64.
    """

    tokens: Tensor
    lengths: Tensor
    labels: Tensor

    @property
    def size(self) -> int:
        """How much there is in the batch, in its ``unit``."""
        return len(self.lengths)

    @property
    def unit(self) -> str:
        """What speed is counted in."""
        return "samples"
