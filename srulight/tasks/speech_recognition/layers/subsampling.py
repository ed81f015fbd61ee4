"""Layers that turn many frames into fewer steps, before an encoder."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from srulight.layers.masking import zero_padding
from srulight.runtime.errors import check_range

_Frames = TypeVar("_Frames", int, Tensor)


class Subsampling(nn.Module, ABC):
    """Turns the frames of a padded batch into fewer steps.

    Step j sees the frames from ``j * shift`` to ``j * shift + window - 1``, and nothing else: no
    zeros around a sequence, and no padding. So a long recording gives the same steps if it is cut
    into stretches that begin at multiples of ``shift`` and overlap by ``window - shift`` frames.

    Attributes:
        input_size: Features per frame, F.
        output_size: Features per step, H.
        window: Frames that a step sees.
        shift: Frames from the start of one step to that of the next, the factor of subsampling.
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
            lengths: Real frames in each sequence, (B,) int64, 0 to T; None means all T.

        Returns:
            Steps, (B, T', H), zeros where padded, and real steps in each sequence, (B,) int64; None
            for None. T' is ``steps(T)``; it and a length may be 0.
        """

    def steps(self, frames: _Frames) -> _Frames:
        """Counts the steps that so many frames give, 0 if they are fewer than ``window``.

        Args:
            frames: Frames, a number or int64 of any shape.

        Returns:
            Steps, a number or the same shape.
        """
        steps = (frames - self.window) // self.shift + 1
        return steps.clamp(min=0) if isinstance(steps, Tensor) else max(steps, 0)


SubsamplingFactory = Callable[[int], Subsampling]
"""Builds a subsampling for a given ``input_size``. The type a task asks for."""


class Stacking(Subsampling):
    """Frames side by side; fewer than ``factor`` at the end of a sequence are dropped.

    Frame stacking as in Sak et al. (2015), Fast and Accurate Recurrent Neural Network Acoustic
    Models for Speech Recognition, Interspeech (arXiv 1507.06947), with windows that do not overlap.

    Args:
        input_size: Features per frame, F.
        factor: Frames that become one step; 1 changes nothing.

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
    """Convolutions over three frames, each of which goes on by two, with ReLU.

    ``shift`` is 2^n and ``window`` 2^(n + 1) - 1 for n layers: 4 and 7 for two.

    Args:
        input_size: Features per frame, F.
        channels: Features per step, and of all in between.
        num_layers: Convolutions, each of which halves the number of steps.

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
        # Torch 2.13 compiles the gradient of a convolution anew for every length; not so that of a
        # product, which takes as long. The weights start as those of nn.Conv1d.
        self.convolutions = nn.ModuleList(
            nn.Linear(3 * (input_size if i == 0 else channels), channels) for i in range(num_layers)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        for convolution in self.convolutions:
            x = convolution(_windows(x, 3, 2)).relu()
        if lengths is None:
            return x, None
        # A step that sees padding is padding.
        lengths = self.steps(lengths)
        return zero_padding(x, lengths), lengths


def _windows(x: Tensor, size: int, shift: int) -> Tensor:
    """Puts each ``size`` frames of (B, T, F), ``shift`` further each time, side by side.

    Returns:
        The windows that are whole, (B, T', size * F).
    """
    if x.size(1) < size:
        return x[:, :0].repeat(1, 1, size)
    # Slices, views and unfold have a compiler ask whether shift divides T.
    first = torch.arange((x.size(1) - size) // shift + 1, device=x.device) * shift
    places = first.unsqueeze(1) + torch.arange(size, device=x.device)
    return x[:, places].flatten(2)
