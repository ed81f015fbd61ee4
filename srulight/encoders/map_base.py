"""The interface of encoders of sequences of maps, such as the feature maps of video frames."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from srulight.layers.masking import valid_steps
from srulight.ops.sru import transformed


class MapEncoder(nn.Module, ABC):
    """Maps each map of a sequence to one that depends on the maps before it.

    Steps past the end of a sequence never affect its real steps, and their outputs are zeros. All
    maps of a sequence have the same height h and width w, and those of the output, too.

    Attributes:
        input_size: Features at each place of an input map, F.
        output_size: Features at each place of an output map, H.
    """

    input_size: int
    output_size: int

    def extra_repr(self) -> str:
        return f"input_size={self.input_size}, output_size={self.output_size}"

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encodes a batch.

        Args:
            x: Maps, (B, T, F, h, w).
            lengths: Number of real steps in each sequence, (B,) int64, 0 to T. None means T for
                all.

        Returns:
            Encoded maps, (B, T, H, h, w), in the dtype of ``x``.

        Raises:
            ValueError: If ``x`` or ``lengths`` has the wrong shape.
        """

    @abstractmethod
    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encodes the next steps of sequences, continuing from a state.

        Args:
            x: Next maps, (B, T, F, h, w).
            state: State that the previous call returned, (L, B, S) for L layers. None at the start
                of the sequences.

        Returns:
            Encoded maps, (B, T, H, h, w), and the state after the last step, (L, B, S).

        Raises:
            ValueError: If ``x`` or ``state`` has the wrong shape.
        """


MapEncoderFactory = Callable[[int], MapEncoder]
"""Builds a map encoder from its ``input_size``. Tasks take an argument of this type."""


def check_maps(encoder: MapEncoder, x: Tensor, lengths: Tensor | None = None) -> None:
    """Raises ValueError if the inputs of a map encoder have a wrong shape, dtype or value."""
    if torch.compiler.is_compiling():
        return
    if x.dim() != 5 or x.size(2) != encoder.input_size:
        expected = f"(batch, time, {encoder.input_size}, height, width)"
        raise ValueError(f"x must have shape {expected}, got {tuple(x.shape)}")
    if lengths is None:
        return
    if lengths.shape != x.shape[:1]:
        expected = f"({len(x)},), one per sequence in x"
        raise ValueError(f"lengths must have shape {expected}, got {tuple(lengths.shape)}")
    if lengths.dtype != torch.int64:
        raise ValueError(f"lengths must be int64, got {str(lengths.dtype).removeprefix('torch.')}")
    if lengths.device != x.device:
        raise ValueError(f"lengths must be on the device of x, {x.device}, got {lengths.device}")
    # Reading the lengths from another device would wait for it.
    if lengths.is_cpu and len(lengths) > 0 and not transformed():
        for length in lengths.aminmax():
            if not 0 <= length <= x.size(1):
                raise ValueError(
                    f"lengths must be between 0 and {x.size(1)}, the number of steps in x, "
                    f"got {length}"
                )


def check_state(state: Tensor | None, layers: int, x: Tensor, channels: int) -> None:
    """Raises ValueError if a state does not belong to the layers and maps of a map encoder.

    Args:
        state: The state; None at the start of the sequences.
        layers: Number of layers, L.
        x: Maps, (B, T, F, h, w).
        channels: Number of channels of the state of a layer at each place.
    """
    if torch.compiler.is_compiling():
        return
    size = (layers, len(x), channels * x.size(3) * x.size(4))
    if state is not None and state.shape != size:
        raise ValueError(f"state must have shape {size}, got {tuple(state.shape)}")


def zero_padded_maps(x: Tensor, lengths: Tensor) -> Tensor:
    """Sets padded steps to zero.

    Args:
        x: Maps, (B, T, H, h, w).
        lengths: Number of real steps in each sequence, (B,) int64.
    """
    valid = valid_steps(lengths, x.size(1))[:, :, None, None, None]
    return torch.where(valid, x, x.new_zeros(()))


def channel_mask(like: Tensor, channels: int, dropout: float) -> Tensor:
    """Draws a mask of dropout: 0 with probability ``dropout``, otherwise 1 / (1 - dropout).

    Args:
        like: Maps, (B, T, F, h, w), which determine the number of sequences and the device.
        channels: Number of channels, H.
        dropout: Probability of 0, from 0 up to but not including 1.

    Returns:
        Factors of the channels of each sequence, (B, H) float32.
    """
    mask = torch.empty(len(like), channels, device=like.device)
    return mask.bernoulli_(1 - dropout).div_(1 - dropout)


def check_kernel_size(kernel_size: int) -> None:
    """Raises ValueError if a size of kernels does not keep the size of the maps."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and at least 1, got {kernel_size}")


def check_dropout(dropout: float) -> None:
    """Raises ValueError if a probability of dropout is out of range."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
