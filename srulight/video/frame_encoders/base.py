"""The interface that every frame encoder implements."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from srulight.runtime.errors import InputError


class FrameEncoder(nn.Module, ABC):
    """Maps each frame to a map of features.

    Attributes:
        input_size: Number of channels of a frame, C: 1 or 3.
        output_size: Number of features at each place of the map, F.
        stride: Number of pixels of the frame per place of the map, along both axes.
    """

    input_size: int
    output_size: int
    stride: int

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """Encodes frames.

        Args:
            frames: Standardized frames, (N, C, H, W) floating point.

        Returns:
            Maps of features, (N, F, ceil(H / stride), ceil(W / stride)).
        """


FrameEncoderFactory = Callable[[int], FrameEncoder]
"""Builds a frame encoder from its ``input_size``. Tasks take an argument of this type."""


def frame_maps(encoder: FrameEncoder, frames: Tensor) -> Tensor:
    """Encodes frames, and checks what a frame encoder of your own returns.

    Args:
        encoder: The frame encoder.
        frames: Standardized frames, (N, C, H, W) floating point.

    Returns:
        Maps of features, (N, F, ceil(H / stride), ceil(W / stride)).

    Raises:
        InputError: If the maps have another shape.
    """
    maps = encoder(frames)
    # Rounds up, without floating point.
    height, width = (-(-size // encoder.stride) for size in frames.shape[2:])
    wanted = (len(frames), encoder.output_size, height, width)
    if maps.shape != wanted:
        raise InputError(
            f"{type(encoder).__name__}: expected maps of features of shape {wanted} for frames of "
            f"shape {tuple(frames.shape)}, got {tuple(maps.shape)}; correct its output_size "
            f"({encoder.output_size}) or stride ({encoder.stride}), or choose a height and a width "
            "that are multiples of the stride"
        )
    return maps


def encode_frames(encoder: Callable[[Tensor], Tensor], frames: Tensor, lengths: Tensor) -> Tensor:
    """Encodes the real frames of a batch; padding costs no time, and enters no batch statistics.

    Args:
        encoder: The frame encoder, or another function of frames, (N, C, H, W), to features, (N, F,
            ...).
        frames: Frames as ``encoder`` takes them, (B, T, C, H, W).
        lengths: Number of frames of each clip without padding, (B,) int64.

    Returns:
        Features, (B, T, F, ...), zeros at padded frames.
    """
    valid = torch.arange(frames.size(1), device=frames.device) < lengths[:, None]
    maps = encoder(frames[valid])
    encoded = maps.new_zeros(*valid.shape, *maps.shape[1:])
    encoded[valid] = maps
    return encoded
