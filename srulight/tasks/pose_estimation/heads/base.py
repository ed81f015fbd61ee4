"""The interface that every head implements.

Shapes: B clips, T frames, F features at each of h times w places of a map, K key points.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class HeadSizes(NamedTuple):
    """What a head must know about its inputs and outputs.

    Attributes:
        features: Features at each place of a map, F.
        points: Number of key points, K.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
        stride: Number of pixels of the frame per place of the map, along both axes.
    """

    features: int
    points: int
    height: int
    width: int
    stride: int

    @property
    def places(self) -> tuple[int, int]:
        """Height and width of a map, h and w."""
        return -(-self.height // self.stride), -(-self.width // self.stride)


class Points(NamedTuple):
    """Predicted key points.

    Attributes:
        points: x and y in pixels of the frame, from its upper left corner, (B, T, K, 2) float32.
        scores: How sure the head is of each point, 0 to 1, (B, T, K) float32; NaN if it cannot say.
    """

    points: Tensor
    scores: Tensor


class PoseHead(nn.Module, ABC):
    """Predicts key points from the feature maps of frames.

    Frames past the end of a clip never affect its real frames.

    Attributes:
        is_online: Whether the head predicts from the frames so far, with a state that it can carry
            from one segment of a clip to the next.
    """

    is_online: bool

    @abstractmethod
    def forward(self, maps: Tensor, lengths: Tensor) -> Tensor:
        """Computes the outputs of whole clips.

        Args:
            maps: Maps of features, (B, T, F, h, w).
            lengths: Number of frames of each clip without padding, (B,) int64.

        Returns:
            Outputs, (B, T, ...).
        """

    @abstractmethod
    def forward_with_state(self, maps: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Computes the outputs of the next frames of clips; the head must be online.

        Args:
            maps: Maps of features of the next frames, (B, T, F, h, w).
            state: State that the previous call returned; None at the start of the clips.

        Returns:
            Outputs, (B, T, ...), and the state after the last frame, (L, B, S).
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the loss of a batch.

        Args:
            outputs: Outputs, (B, T, ...).
            targets: x and y in pixels of the frame, (B, T, K, 2) float32, NaN where a point is
                missing.

        Returns:
            The sum of the losses of the points that are known, and their number, int64.
        """

    @abstractmethod
    def decode(self, outputs: Tensor) -> Points:
        """Returns the points that the outputs stand for.

        Args:
            outputs: Outputs, (B, T, ...).
        """


HeadFactory = Callable[[HeadSizes], PoseHead]
"""Builds a head from its ``sizes``. Tasks take an argument of this type."""


def known_points(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Returns which points are known, (...) bool, and the points with 0 where they are not.

    Args:
        targets: Points, (..., 2), NaN where missing.
    """
    known = ~targets.isnan().any(-1)
    return known, widened(targets).where(known.unsqueeze(-1), 0)


def widened(x: Tensor) -> Tensor:
    """Returns numbers of half precision as float32, and others as they are."""
    return x.float() if x.dtype.itemsize < 4 else x


def stateless(maps: Tensor) -> Tensor:
    """Returns the state of a head that has none, (0, B, 0).

    Args:
        maps: Maps of features, (B, T, F, h, w).
    """
    return torch.zeros(0, len(maps), 0, device=maps.device)
