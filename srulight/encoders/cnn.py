"""Convolutions of several widths: the baseline without recurrence."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders._convolution import convolve
from srulight.encoders.base import Encoder, check_steps
from srulight.layers.masking import zero_padding
from srulight.runtime.errors import check_range


class CNN(Encoder):
    """A convolutional encoder with filters of several widths side by side.

    Kim (2014), Convolutional Neural Networks for Sentence Classification, EMNLP. The maximum over
    time is left to the task's pooling. Each output sees the steps around it, and zeros beyond the
    ends of the sequence.

    Args:
        input_size: Features per input step, F.
        channels: Number of filters per width. ``output_size`` is this times the number of widths.
        widths: Filter widths, in steps.

    Raises:
        ValueError: If ``channels`` or a width is below 1, or ``widths`` is empty.
    """

    def __init__(
        self, input_size: int, channels: int = 100, widths: tuple[int, ...] = (3, 4, 5)
    ) -> None:
        super().__init__()
        check_range(1, channels=channels)
        if not widths or min(widths) < 1:
            raise ValueError(f"widths must be a list of numbers of at least 1, got {list(widths)}")
        self.input_size = input_size
        self.output_size = channels * len(widths)
        self.widths = tuple(widths)
        self.convolutions = nn.ModuleList(nn.Conv1d(input_size, channels, w) for w in widths)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_steps(self, x, lengths)
        if lengths is not None:
            x = zero_padding(x, lengths)
        x = x.mT  # (B, F, T)
        outputs = []
        for width, convolution in zip(self.widths, self.convolutions, strict=True):
            padded = F.pad(x, ((width - 1) // 2, width // 2))
            outputs.append(convolve(padded, convolution).relu())
        y = torch.cat(outputs, dim=1).mT
        return y if lengths is None else zero_padding(y, lengths)
