"""What every encoder promises.

Shapes, here and in all of srulight: B sequences, T steps, F input features, H output features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """Turns each step of a padded batch into a vector that knows its neighbours.

    A step past a sequence's length never changes a step before it, and comes out as zeros.

    Attributes:
        input_size: Features per input step, F.
        output_size: Features per output step, H.
    """

    input_size: int
    output_size: int

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encodes a batch.

        Args:
            x: Steps to encode, (B, T, F).
            lengths: Real steps in each sequence, (B,) int64, 1 to T; None means all T.

        Returns:
            Encoded steps, (B, T, H), in the dtype of ``x``.
        """


class Recurrent(Encoder):
    """An encoder that can stop after any step and carry on later.

    Attributes:
        bidirectional: Whether the second half of the outputs was read right to left. Such an
            encoder needs the whole sequence and refuses to resume.
    """

    bidirectional: bool

    @abstractmethod
    def resume(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encodes the next steps of sequences that are already under way.

        Args:
            x: Next steps, (B, T, F).
            state: What the previous call returned, (L, B, S); None at the start.

        Returns:
            Encoded steps, (B, T, H), and the state after the last of them, (L, B, S).

        Raises:
            ValueError: If the encoder is bidirectional.
        """


class PeepholeLayer(nn.Module, ABC):
    """A layer whose gates may see its last state, so that its recurrence is not linear."""

    @abstractmethod
    def slopes(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor | None:
        """Measures how a change of each state changes the next, to watch stability.

        Slow, and without gradients. In training mode dropout draws anew.

        Args: those of the layer's ``forward``.

        Returns:
            dc_t / dc_(t-1), (B, T, D), at least float32, 1 at padded steps, which keep the state;
            of a bidirectional layer the channels that are read left to right, (B, T, D / 2). None
            if the layer has no peephole, so that every slope is its forget gate, 0 to 1.
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
    weight = next(encoder.parameters(), torch.empty(0))
    if not weight.is_meta:
        # Training is how modules begin; without it nothing random happens.
        encoder.eval()
        with torch.no_grad():
            features = encoder(weight.new_zeros(1, 2, input_size)).size(-1)
        encoder.train()
        if features != encoder.output_size:
            raise ValueError(
                f"{name} gives {features} features for a step, and its output_size is "
                f"{encoder.output_size}"
            )
    return encoder


def refuse_to_resume(encoder: Recurrent) -> None:
    """Raises ValueError if ``encoder`` is bidirectional."""
    if encoder.bidirectional:
        name = type(encoder).__name__
        raise ValueError(f"a bidirectional {name} reads the future and cannot resume")
