"""Random changes of training clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.runtime.errors import check_range

_PIECE = 1 << 22  # Number of pixels that are transformed together.


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training clips, drawn anew for each clip in each epoch.

    All frames of a clip change alike, so that its motion remains natural. What a change moves into
    the frame from outside repeats the pixels at the edge. Key points move with the pixels, and
    count as missing where they leave the frame. The changes depend only on the seed, the epoch and
    the clip, so that a run that resumes makes the same ones.

    Args:
        flip: Whether half of the clips are mirrored horizontally, which exchanges left and right.
        shift: Largest shift along each axis, as a share of the width or height, 0 to 1.
        scale: Largest relative change of size, at least 0: with 0.25, factors from 1/1.25 to 1.25.
        rotation: Largest angle of rotation about the center, in degrees, 0 to 180.
        brightness: Largest change of brightness, as a share of the range from black to white, 0 to
            1.
        contrast: Largest relative change of the distance from medium gray, at least 0: with 0.25,
            factors from 1/1.25 to 1.25.
    """

    flip: bool = False
    shift: float = 0.0
    scale: float = 0.0
    rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        check_range(0, 1, shift=self.shift, brightness=self.brightness)
        check_range(0, scale=self.scale, contrast=self.contrast)
        check_range(0, 180, rotation=self.rotation)

    @property
    def changes(self) -> bool:
        """Whether anything changes."""
        return self != Augmentation()

    def draw(self, seed: int, epoch: int, clip: int) -> "Change":
        """Draws the change of a clip.

        Args:
            seed: Seed of the training data.
            epoch: Number of the epoch, from 0.
            clip: Index of the clip.
        """
        # The same numbers are drawn whatever the settings are.
        numbers = np.random.default_rng([seed, epoch, clip]).uniform(-1, 1, 7).tolist()
        flip, x, y, scale, rotation, brightness, contrast = numbers
        return Change(
            flip=self.flip and flip < 0,
            shift=(x * self.shift, y * self.shift),
            scale=(1 + self.scale) ** scale,
            rotation=rotation * self.rotation,
            brightness=brightness * self.brightness,
            contrast=(1 + self.contrast) ** contrast,
        )


class Change(NamedTuple):
    """The change of a clip: first the mirror image, then rotation and size, then the shift.

    Attributes:
        flip: Whether the frames are mirrored horizontally.
        shift: Shift to the right and downward, as shares of the width and the height.
        scale: Factor of the size.
        rotation: Angle of rotation about the center, in degrees, clockwise.
        brightness: What is added to all pixels, as a share of the range from black to white.
        contrast: Factor of the distance from medium gray.
    """

    flip: bool = False
    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 1.0

    def frames(self, frames: Tensor, scale: Tensor) -> Tensor:
        """Changes frames.

        Args:
            frames: Frames, (T, C, H, W) uint8.
            scale: Pixels of the video per pixel of the frames, along x and y, (2,).

        Returns:
            Frames of the same shape and type.
        """
        size = max(1, _PIECE // frames[0].numel())
        return torch.cat([self._piece(piece, scale) for piece in frames.split(size)])

    def _piece(self, frames: Tensor, scale: Tensor) -> Tensor:
        if self.flip:
            frames = frames.flip(-1)
        if not self._moves and (self.brightness, self.contrast) == (0, 1):
            return frames
        changed = frames.float()
        if self._moves:
            grid = self._grid(frames.size(-2), frames.size(-1), scale)
            # As channels of one image, all frames share the computation of their weights.
            image = changed.flatten(0, 1)[None]
            moved = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
            changed = moved.view_as(changed)
        gray = 127.5
        changed = (changed - gray) * self.contrast + gray + 255 * self.brightness
        return changed.round().clamp(0, 255).to(torch.uint8)

    def points(
        self, points: Tensor, size: tuple[int, int], scale: Tensor, pairs: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Moves key points along with the pixels of their frames.

        Args:
            points: Key points, (T, K, 2): x and y in pixels of the frames, from the upper left
                corner of the frame; the center of the first pixel is at (0.5, 0.5). NaN where
                missing.
            size: Height and width of the frames in pixels.
            scale: As for ``frames``.
            pairs: Pairs of key points that a mirror image exchanges, as indices.

        Returns:
            Key points; NaN also where they lie outside the frame.
        """
        extent = points.new_tensor([size[1], size[0]])
        if self.flip:
            order = list(range(points.size(1)))
            for one, other in pairs:
                order[one], order[other] = other, one
            points = points[:, order].clone()
            points[..., 0] = extent[0] - points[..., 0]
        if self._moves:
            matrix = self._matrix(scale).to(points)
            shift = points.new_tensor(self.shift) * extent
            points = (points - extent / 2) @ matrix.T + extent / 2 + shift
        inside = ((points >= 0) & (points <= extent)).all(-1, keepdim=True)
        return points.where(inside, math.nan)

    @property
    def _moves(self) -> bool:
        return (self.shift, self.scale, self.rotation) != ((0, 0), 1, 0)

    def _matrix(self, scale: Tensor) -> Tensor:
        """Returns the rotation and scaling of coordinates about the center, (2, 2)."""
        angle = math.radians(self.rotation)
        sine, cosine = self.scale * math.sin(angle), self.scale * math.cos(angle)
        turn = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
        # The pixels of resized frames may not be square; angles are those of the video.
        own = scale.double()
        return turn * own / own[:, None]

    def _grid(self, height: int, width: int, scale: Tensor) -> Tensor:
        """Returns where the pixels of the result come from, as ``grid_sample`` takes it."""
        extent = torch.tensor([width, height], dtype=torch.float64)
        inverse = torch.linalg.inv(self._matrix(scale))
        # From -1 to 1 between the edges: x = extent * (u + 1) / 2.
        turn = inverse * extent / extent[:, None]
        shift = -(turn @ (2 * torch.tensor(self.shift, dtype=torch.float64)))
        theta = torch.cat((turn, shift[:, None]), dim=1)
        return F.affine_grid(theta[None], [1, 1, height, width], align_corners=False).float()
