"""Transcripts of recordings, and their tokens with times."""

from typing import NamedTuple

from srulight.text.tokenizers import BLANK

SPECIALS = (BLANK,)
"""Special tokens of a speech recognizer's tokenizer."""


class Spoken(NamedTuple):
    """A recognized token and its time in the recording.

    Attributes:
        text: Text of the token. A leading space marks the start of a word.
        start: Start time, in seconds.
        end: End time, in seconds.
    """

    text: str
    start: float
    end: float


class Transcript(NamedTuple):
    """The transcript of a recording.

    Attributes:
        text: The recognized text.
        seconds: Duration of the recording, in seconds.
        tokens: The tokens of the text, in order.
    """

    text: str
    seconds: float
    tokens: list[Spoken]


def single_spaced(text: str) -> str:
    """Returns the text with single spaces between words and none at either end."""
    return " ".join(text.split())
