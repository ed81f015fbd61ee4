"""What every decoder promises.

The scores are those of connectionist temporal classification (Graves et al. 2006): each frame has
one token or none, "blank", and a token in several frames in a row is one token.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from srulight.runtime.errors import InputError

BLANK = 0


class Token(NamedTuple):
    """A token that was recognized, and when.

    Attributes:
        index: Which token, 1 or more.
        start: First frame of the run of frames that have it, counted from 0 at the start of the
            utterance.
        end: One after the last frame of the run.
    """

    index: int  # type: ignore[assignment]  # tuple's own method has to go
    start: int
    end: int


class Decoder(ABC):
    """Reads the frames of one utterance, and finds its tokens.

    The result after the same frames is the same, however they were cut into pieces.
    """

    @abstractmethod
    def advance(self, log_probs: Tensor) -> None:
        """Reads the next frames.

        Args:
            log_probs: Natural logarithm of the probability of each token, (T, V) of any float;
                index 0 is the blank. T may be 0.

        Raises:
            InputError: If it has another shape, or a frame has no finite maximum.
        """

    @abstractmethod
    def tokens(self) -> list[Token]:
        """Gives the best hypothesis for the frames so far."""

    @abstractmethod
    def num_stable(self) -> int:
        """Counts the first tokens that no later frame can change.

        Returns:
            How many tokens of ``tokens`` these are. Their indices are final; when they start and
            end may still change.
        """

    @abstractmethod
    def finish(self) -> list[Token]:
        """Gives the best hypothesis if the utterance ends here.

        It changes nothing: more frames may follow.
        """


def check_frames(log_probs: Tensor) -> None:
    """Raises InputError if this is no (T, V), or a frame has no finite maximum."""
    if log_probs.ndim != 2 or log_probs.shape[1] == 0 or not log_probs.is_floating_point():
        raise InputError(
            "log-probabilities must be floats of shape (T, V), with V 1 or more; got "
            f"{tuple(log_probs.shape)} of {log_probs.dtype}"
        )
    good = log_probs.amax(1).isfinite()
    if not good.all():
        raise InputError(
            "the most probable token of a frame must have a finite log-probability; frame "
            f"{int((~good).int().argmax())} of {len(good)} has {log_probs.amax(1)[~good][0].item()}"
        )
