"""A batch of utterances."""

from typing import NamedTuple

from torch import Tensor


class SpeechBatch(NamedTuple):
    """A padded batch of utterances and their transcripts.

    Attributes:
        features: Feature frames, (B, T, F) float32, padded on the right with 0.
        lengths: Number of valid frames in each utterance, (B,) int64.
        targets: Token ids of each transcript, (B, S) int64, padded on the right with 0.
        target_lengths: Number of valid tokens in each transcript, (B,) int64. An utterance of
            length 0 is a placeholder and counts neither in the loss nor in the metrics.
        size: Number of valid frames in the batch.
    """

    features: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    size: int

    @property
    def unit(self) -> str:
        """Unit of ``size``, in which throughput is logged."""
        return "frames"
