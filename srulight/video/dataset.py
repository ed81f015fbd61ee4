"""Clips, read whole or in segments."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from srulight.data.base import IGNORED
from srulight.data.segments import WholeDataset
from srulight.video.augmentation import Augmentation
from srulight.video.batch import ClipBatch


class Origin(NamedTuple):
    """The clip of a corpus that a stored clip is a part of.

    Attributes:
        key: What identifies the frames of the clip in the cache, as plain data.
        frames: All its frames that the model reads, (T, C, H, W) uint8.
        first: Index of the first frame of the part among them.
    """

    key: Any
    frames: Tensor
    first: int


class StoredClip(NamedTuple):
    """A clip whose frames are stored.

    Attributes:
        frames: Its frames, (T, C, H, W) uint8, or features of its frames, (T, F, ...) float32.
        targets: Its target, (...), or those of its frames, (T, ...), as ``ClipBatch`` has them.
        scale: Pixels of the video per pixel of the frames, along x and y, (2,) float32.
        name: Name of the clip.
        origin: The clip of the corpus that this one is a part of; None if that is not known.
    """

    frames: Tensor
    targets: Tensor
    scale: Tensor
    name: str
    origin: Origin | None = None


class Augmenter(NamedTuple):
    """How training clips change in each epoch.

    Attributes:
        settings: The settings.
        seed: Seed of the changes.
        pairs: Pairs of key points that a mirror image exchanges; None if there are no key points.
    """

    settings: Augmentation
    seed: int
    pairs: Sequence[tuple[int, int]] | None


class ClipDataset(WholeDataset[ClipBatch]):
    """The clips of a part of a corpus.

    Args:
        clips: The clips, at least one.
        per_frame: Whether each frame has a target.
        augmenter: How the clips change in each epoch; None if they remain the same.

    Attributes:
        epoch: Number of the epoch, from 0, which determines how the clips change.
    """

    def __init__(
        self, clips: Sequence[StoredClip], per_frame: bool, augmenter: Augmenter | None = None
    ) -> None:
        self.clips = clips
        self.per_frame = per_frame
        self.augmenter = augmenter
        self.epoch = 0
        self.lengths = torch.tensor([len(clip.frames) for clip in clips])
        self._missing = math.nan if clips[0].targets.is_floating_point() else IGNORED

    def batch(self, indices: list[int], first: int = 0, steps: int | None = None) -> ClipBatch:
        if not indices:
            # The frame is a real one, because pooling needs one.
            batch = self.batch([0], 0, 1)
            targets = torch.full_like(batch.targets, self._missing)
            return batch._replace(
                targets=targets, is_first=first == 0, is_segment=steps is not None
            )
        clips = [self.clips[i] for i in indices]
        lengths = (self.lengths[indices] - first).clamp(0, steps)
        # Where all clips of this process have ended before those of another, a frame is padding.
        longest = max(1, int(lengths.max()))
        frames = clips[0].frames.new_zeros(len(clips), longest, *clips[0].frames.shape[1:])
        shape = (longest, *clips[0].targets.shape[1:]) if self.per_frame else clips[0].targets.shape
        targets = clips[0].targets.new_full((len(clips), *shape), self._missing)
        for i, (index, length) in enumerate(zip(indices, lengths.tolist(), strict=True)):
            own_frames, own_targets = self._steps(index, slice(first, first + length))
            frames[i, :length] = own_frames
            if self.per_frame:
                targets[i, :length] = own_targets
            else:
                targets[i] = own_targets
        scales = torch.stack([clip.scale for clip in clips])
        return ClipBatch(
            frames, lengths, targets, scales, is_first=first == 0, is_segment=steps is not None
        )

    def _steps(self, index: int, steps: slice) -> tuple[Tensor, Tensor]:
        """Returns frames of a clip, and their targets or that of the clip."""
        clip = self.clips[index]
        frames = clip.frames[steps]
        targets = clip.targets[steps] if self.per_frame else clip.targets
        if self.augmenter is None or not len(frames):
            return frames, targets
        change = self.augmenter.settings.draw(self.augmenter.seed, self.epoch, index)
        if self.augmenter.pairs is not None:
            size = (frames.size(-2), frames.size(-1))
            targets = change.points(targets, size, clip.scale, self.augmenter.pairs)
        return change.frames(frames, clip.scale), targets
