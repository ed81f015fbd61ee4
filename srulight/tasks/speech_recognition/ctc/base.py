"""Interface of CTC decoders.

In connectionist temporal classification (CTC; Graves et al. 2006), each frame has one token or the
blank, and the same token in adjacent frames counts once. A frame of a decoder is a step of the
encoder.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from srulight.runtime.errors import InputError

BLANK = 0


class Token(NamedTuple):
    """A recognized token and its frames.

    Attributes:
        index: Token id, 1 or more.
        start: First frame of the token, counted from 0 at the start of the utterance.
        end: One after the last frame of the token.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index on purpose
    start: int
    end: int


class Decoder(ABC):
    """Decodes one utterance, whole or chunk by chunk.

    The result does not depend on how the frames are cut into chunks.
    """

    @abstractmethod
    def advance(self, log_probs: Tensor) -> None:
        """Reads the next frames.

        Args:
            log_probs: Natural logarithms of the token probabilities, (T, V) of any floating-point
                type; index 0 is the blank. T may be 0.

        Raises:
            InputError: If the shape or type is wrong, or the maximum of a frame is not finite.
        """

    @abstractmethod
    def tokens(self) -> list[Token]:
        """Returns the best hypothesis for the frames so far."""

    @abstractmethod
    def num_stable(self) -> int:
        """Counts the leading tokens that no later frame can change.

        Returns:
            Number of stable tokens at the start of ``tokens``. Their indices are final; their start
            and end may still change.
        """

    @abstractmethod
    def finish(self) -> list[Token]:
        """Returns the best hypothesis if the utterance ends here.

        The decoder does not change, so more frames may follow.
        """


def check_frames(log_probs: Tensor) -> None:
    """Raises InputError if the shape is not (T, V), or the maximum of a frame is not finite."""
    if log_probs.ndim != 2 or log_probs.shape[1] == 0 or not log_probs.is_floating_point():
        raise InputError(
            "log_probs must be floats of shape (T, V) with V at least 1, got "
            f"{log_probs.dtype} of shape {tuple(log_probs.shape)}"
        )
    good = log_probs.amax(1).isfinite()
    if not good.all():
        raise InputError(
            "log_probs must have a finite maximum in each frame, got "
            f"{log_probs.amax(1)[~good][0].item()} in frame {int((~good).int().argmax())} of "
            f"{len(good)}"
        )
