"""Standardization of frames by the training data."""

from typing import Any

import torch
from torch import Tensor, nn


class Standardization(nn.Module):
    """Subtracts the mean of each channel and divides by its standard deviation.

    Args:
        about: ``frames`` of the metadata, which ``check_frames`` has checked.

    Attributes:
        channels: Number of channels of a frame, C.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, about: dict[str, Any]) -> None:
        super().__init__()
        self.channels = 3 if about["color"] else 1
        for name in ("mean", "std"):
            # The metadata determine these, so checkpoints need not contain them.
            values = torch.tensor(about[name], dtype=torch.float32)
            self.register_buffer(name, values.view(-1, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Standardizes frames.

        Args:
            frames: Frames, (N, C, H, W) uint8.

        Returns:
            Standardized frames, (N, C, H, W), in the dtype of the model.
        """
        # Half precision would round brightness.
        return ((frames.float() - self.mean.float()) / self.std.float()).to(self.mean.dtype)
