"""A batch of utterances."""

from typing import NamedTuple

from torch import Tensor


class SpeechBatch(NamedTuple):
    """Padded utterances with their transcripts.

    Attributes:
        features: Frames, (B, T, F) float32, padded on the right with 0.
        lengths: Real frames of each utterance, (B,) int64.
        targets: Tokens of each transcript, (B, S) int64, padded on the right with 0.
        target_lengths: Real tokens of each transcript, (B,) int64; 0 where there is nothing to
            learn or to measure.
        size: Real frames in the batch.
    """

    features: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    size: int

    @property
    def unit(self) -> str:
        """What speed is counted in."""
        return "frames"
