"""Subsampling layers, which reduce the number of frames before an encoder."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from srulight.layers.masking import zero_padding
from srulight.runtime.errors import check_range

_Frames = TypeVar("_Frames", int, Tensor)


class Subsampling(nn.Module, ABC):
    """Base class of layers that turn the frames of a padded batch into fewer steps.

    Step j depends on the frames from ``j * shift`` to ``j * shift + window - 1`` only, and never on
    padding. Therefore a long recording yields the same steps when it is cut into parts that start
    at multiples of ``shift`` and overlap by ``window - shift`` frames.

    Attributes:
        input_size: Number of features per frame, F.
        output_size: Number of features per step, H.
        window: Number of frames that a step sees.
        shift: Subsampling factor: frames from the start of one step to the start of the next.
    """

    input_size: int
    output_size: int
    window: int
    shift: int

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Subsamples a batch.

        Args:
            x: Frames, (B, T, F).
            lengths: Number of valid frames in each sequence, (B,) int64, 0 to T; None means all T.

        Returns:
            Steps, (B, T', H), where T' is ``steps(T)`` and padding is 0; and the number of valid
            steps in each sequence, (B,) int64, or None if ``lengths`` is None. T' and the numbers
            may be 0.
        """

    def steps(self, frames: _Frames) -> _Frames:
        """Computes the number of steps for a number of frames; 0 for fewer than ``window``.

        Args:
            frames: Number of frames, as an int or as an int64 tensor of any shape.

        Returns:
            Number of steps, as an int or as a tensor of the same shape.
        """
        steps = (frames - self.window) // self.shift + 1
        return steps.clamp(min=0) if isinstance(steps, Tensor) else max(steps, 0)


SubsamplingFactory = Callable[[int], Subsampling]
"""Builds a subsampling layer for a given ``input_size``."""


class Stacking(Subsampling):
    """Concatenates groups of frames; an incomplete group at the end is dropped.

    Frame stacking as in Sak et al. (2015), Fast and Accurate Recurrent Neural Network Acoustic
    Models for Speech Recognition, Interspeech (arXiv 1507.06947), with windows that do not overlap.

    Args:
        input_size: Number of features per frame, F.
        factor: Number of frames per step; 1 leaves the frames unchanged.

    Raises:
        InputError: If an argument is below 1.
    """

    def __init__(self, input_size: int, factor: int = 3) -> None:
        super().__init__()
        check_range(1, input_size=input_size, factor=factor)
        self.input_size = input_size
        self.output_size = factor * input_size
        self.window = self.shift = factor

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        y = _windows(x, self.window, self.shift)
        if lengths is None:
            return y, None
        lengths = self.steps(lengths)
        return zero_padding(y, lengths), lengths


class Convolutions(Subsampling):
    """Convolutions over time with kernel size 3 and stride 2, each followed by ReLU.

    For n layers, ``shift`` is 2^n and ``window`` is 2^(n + 1) - 1: 4 and 7 frames for two layers.

    Args:
        input_size: Number of features per frame, F.
        channels: Number of output channels of each convolution, which is the number of features per
            step.
        num_layers: Number of convolutions, each of which halves the number of steps.

    Raises:
        InputError: If an argument is below 1.
    """

    def __init__(self, input_size: int, channels: int = 256, num_layers: int = 2) -> None:
        super().__init__()
        check_range(1, input_size=input_size, channels=channels, num_layers=num_layers)
        self.input_size = input_size
        self.output_size = channels
        self.shift = 2**num_layers
        self.window = 2 * self.shift - 1
        # torch.compile (2.13) recompiles the gradient of a convolution for every length, but not
        # that of a matrix product, which is as fast. The initialization is that of nn.Conv1d.
        self.convolutions = nn.ModuleList(
            nn.Linear(3 * (input_size if i == 0 else channels), channels) for i in range(num_layers)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        for convolution in self.convolutions:
            x = convolution(_windows(x, 3, 2)).relu()
        if lengths is None:
            return x, None
        # A step that depends on padding is padding itself.
        lengths = self.steps(lengths)
        return zero_padding(x, lengths), lengths


def _windows(x: Tensor, size: int, shift: int) -> Tensor:
    """Concatenates the frames in each window of (B, T, F).

    Args:
        x: Frames, (B, T, F).
        size: Number of frames in a window.
        shift: Frames from the start of one window to the start of the next.

    Returns:
        The complete windows, (B, T', size * F).
    """
    if x.size(1) < size:
        return x[:, :0].repeat(1, 1, size)
    # Indexing, because slices, views and unfold make torch.compile specialize on whether shift
    # divides T.
    first = torch.arange((x.size(1) - size) // shift + 1, device=x.device) * shift
    places = first.unsqueeze(1) + torch.arange(size, device=x.device)
    return x[:, places].flatten(2)
