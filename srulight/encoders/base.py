"""What every encoder promises.

Shapes, here and in all of srulight: B sequences, T steps, F input features, H output features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

from srulight.ops.sru import transformed


class Encoder(nn.Module, ABC):
    """Turns each step of a padded batch into a vector that knows its neighbours.

    A step past a sequence's length never changes a step before it, and comes out as zeros.

    Attributes:
        input_size: Features per input step, F.
        output_size: Features per output step, H.
    """

    input_size: int
    output_size: int

    def extra_repr(self) -> str:
        sizes = {name: vars(self).get(name) for name in ("input_size", "output_size")}
        return ", ".join(f"{name}={size}" for name, size in sizes.items() if size is not None)

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encodes a batch.

        Args:
            x: Steps to encode, (B, T, F).
            lengths: Real steps in each sequence, (B,) int64, 0 to T; None means all T.

        Returns:
            Encoded steps, (B, T, H), in the dtype of ``x``.

        Raises:
            ValueError: If ``x`` or ``lengths`` is not what it should be. How long they say
                sequences are is looked at on a CPU only; elsewhere that would mean to wait.
        """


class Recurrent(Encoder):
    """An encoder that can stop after any step and carry on later.

    Attributes:
        bidirectional: Whether the second half of the outputs was read right to left. Such an
            encoder needs the whole sequence and refuses to resume.
    """

    bidirectional: bool

    @abstractmethod
    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encodes the next steps of sequences that are already under way.

        Args:
            x: Next steps, (B, T, F).
            state: What the previous call returned, (L, B, S); None at the start.

        Returns:
            Encoded steps, (B, T, H), and the state after the last of them, (L, B, S).

        Raises:
            ValueError: If the encoder is bidirectional, or ``x`` has another shape.
        """


class PeepholeLayer(nn.Module, ABC):
    """A layer whose gates may see its last state, so that its recurrence is not linear."""

    @abstractmethod
    def state_jacobian(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor | None:
        """Measures how a change of each state changes the next, to watch stability.

        Slow, and without gradients. In training mode dropout draws anew.

        Args: those of the layer's ``forward``.

        Returns:
            dc_t / dc_(t-1), (B, T, D), at least float32, 1 at padded steps, which keep the state;
            of a bidirectional layer the channels that are read left to right, (B, T, D / 2). None
            if the layer has no peephole, so that every derivative is its forget gate, 0 to 1.
        """


EncoderFactory = Callable[[int], Encoder]
"""Builds an encoder for a given ``input_size``. The type a task asks for."""

RecurrentFactory = Callable[[int], Recurrent]


_E = TypeVar("_E", bound=Encoder)


def build_encoder(build: Callable[[int], _E], input_size: int) -> _E:
    """Builds an encoder, and looks whether it keeps what ``Encoder`` promises of shapes.

    Args:
        build: Builds it.
        input_size: Features per input step, F.

    Raises:
        ValueError: If it has no ``output_size``, or gives another number of features.
    """
    encoder = build(input_size)
    name = type(encoder).__name__
    if not isinstance(getattr(encoder, "output_size", None), int):
        raise ValueError(f"{name} must set output_size, the number of features it gives for a step")
    # Tried on a device that computes nothing, and draws no random numbers.
    tensors = dict(chain(encoder.named_parameters(), encoder.named_buffers()))
    on_meta = {key: tensor.to("meta") for key, tensor in tensors.items()}
    dtype = next((t.dtype for t in on_meta.values() if t.is_floating_point()), torch.float32)
    x = torch.empty(1, 2, input_size, dtype=dtype, device="meta")
    with torch.no_grad(), suppress(NotImplementedError):  # of one that looks at its numbers
        features = torch.func.functional_call(encoder, on_meta, x).size(-1)
        if features != encoder.output_size:
            raise ValueError(
                f"{name} gives {features} features for a step, and its output_size is "
                f"{encoder.output_size}"
            )
    return encoder


def check_steps(encoder: Encoder, x: Tensor, lengths: Tensor | None = None) -> None:
    """Raises ValueError if an encoder is given what it cannot encode."""
    if torch.compiler.is_compiling():
        return
    if x.dim() != 3 or x.size(2) != encoder.input_size:
        expected = f"(batch, time, {encoder.input_size})"
        raise ValueError(f"x must have shape {expected}, got {tuple(x.shape)}")
    if lengths is None:
        return
    if lengths.shape != x.shape[:1]:
        expected = f"({len(x)},), one for each sequence of x"
        raise ValueError(f"lengths must have shape {expected}, got {tuple(lengths.shape)}")
    if lengths.dtype != torch.int64:
        raise ValueError(f"lengths must be int64, got {str(lengths.dtype).removeprefix('torch.')}")
    if lengths.device != x.device:
        raise ValueError(f"lengths must be on the device of x, {x.device}, got {lengths.device}")
    if lengths.is_cpu and len(lengths) > 0 and not transformed():
        for length in lengths.aminmax():
            if not 0 <= length <= x.size(1):
                raise ValueError(f"lengths must be 0 to {x.size(1)}, the steps of x, got {length}")


def refuse_bidirectional(encoder: Recurrent) -> None:
    """Raises ValueError if ``encoder`` is bidirectional."""
    if encoder.bidirectional:
        name = type(encoder).__name__
        raise ValueError(f"a bidirectional {name} reads the future and cannot run step by step")
