"""The interface that every encoder implements.

Shapes, here and throughout srulight: B sequences, T steps, F input features, H output features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from srulight.ops.sru import transformed


class Encoder(nn.Module, ABC):
    """Maps each step of a padded batch to a vector that depends on the steps around it.

    Steps past the end of a sequence never affect its real steps, and their outputs are zeros.

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
            lengths: Number of real steps in each sequence, (B,) int64, 0 to T. None means T for
                all.

        Returns:
            Encoded steps, (B, T, H), in the dtype of ``x``.

        Raises:
            ValueError: If ``x`` or ``lengths`` has the wrong shape, dtype or device. The values of
                ``lengths`` are checked on a CPU only, because reading them from another device
                would wait for it.
        """


class Recurrent(Encoder):
    """An encoder that can process a sequence in pieces.

    Attributes:
        bidirectional: Whether the encoder also reads right to left. The second half of its output
            features then belongs to that direction. It needs whole sequences, so
            ``forward_with_state`` raises an error.
    """

    bidirectional: bool

    @abstractmethod
    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encodes the next steps of sequences, continuing from a state.

        Args:
            x: Next steps, (B, T, F).
            state: State that the previous call returned, (L, B, S) for L layers. None at the start
                of the sequences.

        Returns:
            Encoded steps, (B, T, H), and the state after the last step, (L, B, S).

        Raises:
            ValueError: If the encoder is bidirectional, or ``x`` has the wrong shape.
        """


def directions(encoder: Encoder) -> int:
    """Returns in how many directions an encoder reads: 1 or 2 if it is recurrent, otherwise 0."""
    if not isinstance(encoder, Recurrent):
        return 0
    return 2 if encoder.bidirectional else 1


class PeepholeLayer(nn.Module, ABC):
    """A layer whose gates may depend on its previous state, which makes it nonlinear.

    Attributes:
        matrices: Names of the attributes that may also hold a ``StoredMatrix``.
    """

    matrices: ClassVar[tuple[str, ...]] = ("projection", "weight")

    @abstractmethod
    def state_jacobian(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor | None:
        """Computes how a change of each state changes the next one, to monitor stability.

        This is slow and has no gradients. In training mode it draws new dropout masks.

        Args:
            x: Steps, as in ``forward``, (B, T, F).
            state: State before the first step, as in ``forward``.
            lengths: Number of real steps in each sequence, (B,). None means T for all.

        Returns:
            Derivatives dc_t / dc_(t-1), (B, T, D), at least float32. Padded steps keep the state,
            so their derivatives are 1. A bidirectional layer returns only the channels that it
            reads left to right, (B, T, D / 2). A layer without peephole returns None: its
            derivatives equal its forget gates, which lie between 0 and 1.
        """


EncoderFactory = Callable[[int], Encoder]
"""Builds an encoder from an ``input_size``. Tasks take an argument of this type."""

RecurrentFactory = Callable[[int], Recurrent]


_E = TypeVar("_E", bound=Encoder)


def build_encoder(build: Callable[[int], _E], input_size: int) -> _E:
    """Builds an encoder and checks that it returns ``output_size`` features per step.

    Args:
        build: Function that builds the encoder from its ``input_size``.
        input_size: Features per input step, F.

    Returns:
        The encoder.

    Raises:
        ValueError: If the encoder has no ``output_size``, or returns another number of features.
    """
    encoder = build(input_size)
    name = type(encoder).__name__
    if not isinstance(getattr(encoder, "output_size", None), int):
        raise ValueError(f"{name} must set output_size, the number of features per output step")
    # The meta device computes nothing and draws no random numbers.
    tensors = dict(chain(encoder.named_parameters(), encoder.named_buffers()))
    on_meta = {key: tensor.to("meta") for key, tensor in tensors.items()}
    dtype = next((t.dtype for t in on_meta.values() if t.is_floating_point()), torch.float32)
    x = torch.empty(1, 2, input_size, dtype=dtype, device="meta")
    with torch.no_grad(), suppress(NotImplementedError):  # an encoder may branch on values
        features = torch.func.functional_call(encoder, on_meta, x).size(-1)
        if features != encoder.output_size:
            raise ValueError(
                f"{name} must return output_size ({encoder.output_size}) features per step, got "
                f"{features}; correct output_size"
            )
    return encoder


def check_steps(encoder: Encoder, x: Tensor, lengths: Tensor | None = None) -> None:
    """Raises ValueError if the shape, dtype or device of an encoder's inputs is wrong."""
    if torch.compiler.is_compiling():
        return
    if x.dim() != 3 or x.size(2) != encoder.input_size:
        expected = f"(batch, time, {encoder.input_size})"
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
    if lengths.is_cpu and len(lengths) > 0 and not transformed():
        for length in lengths.aminmax():
            if not 0 <= length <= x.size(1):
                raise ValueError(
                    f"lengths must be between 0 and {x.size(1)}, the number of steps in x, "
                    f"got {length}"
                )


def refuse_bidirectional(encoder: Recurrent) -> None:
    """Raises ValueError if ``encoder`` is bidirectional."""
    if encoder.bidirectional:
        name = type(encoder).__name__
        raise ValueError(
            f"a bidirectional {name} needs whole sequences and cannot run step by step; "
            "set bidirectional=false"
        )
