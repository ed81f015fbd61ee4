"""Batches of clips."""

from typing import NamedTuple

from torch import Tensor


class ClipBatch(NamedTuple):
    """A batch of clips, or of the next segments of clips.

    Attributes:
        frames: Frames, (B, T, C, H, W) uint8, padded at the end with 0; or, where a frozen frame
            encoder has computed them before, features, (B, T, F) or (B, T, F, h, w) float32.
        lengths: Number of frames of each clip without padding, (B,) int64. In a segment, a clip
            that has ended before has the length 0.
        targets: Targets of clips, (B,) or (B, K), or of frames, (B, T) or (B, T, K): classes,
            int64, -100 where there is none; or labels and standardized numbers, float32, NaN where
            there is none. For key points, (B, T, K, 2) float32: x and y in pixels of ``frames``,
            from its upper left corner, NaN where a point is missing.
        scales: Pixels of the video per pixel of ``frames``, along x and y, (B, 2) float32.
        is_first: Whether the clips begin with this batch; otherwise they continue the previous
            batch.
        is_segment: Whether this is a batch of segments; otherwise it has whole clips.
    """

    frames: Tensor
    lengths: Tensor
    targets: Tensor
    scales: Tensor
    is_first: bool
    is_segment: bool

    @property
    def size(self) -> int:
        """Size of the batch in its ``unit``."""
        return self.frames.size(0) * self.frames.size(1)

    @property
    def unit(self) -> str:
        """Unit in which the training speed is reported."""
        return "frames"
