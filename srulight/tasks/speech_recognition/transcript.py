"""What is recognized in a recording, and how transcripts are written."""

from typing import NamedTuple

from srulight.text.tokenizers import BLANK

SPECIALS = (BLANK,)
"""Special tokens of a recognizer's tokenizer."""


class Spoken(NamedTuple):
    """A token, and when it is spoken.

    Attributes:
        text: Its characters; a space begins a word.
        start: When it begins, in seconds.
        end: When it ends, in seconds.
    """

    text: str
    start: float
    end: float


class Transcript(NamedTuple):
    """What is spoken in a recording.

    Attributes:
        text: The words.
        seconds: Duration of the recording.
        tokens: The tokens that the text is made of.
    """

    text: str
    seconds: float
    tokens: list[Spoken]


def single_spaced(text: str) -> str:
    """Gives a text with single spaces between its words, and none around them."""
    return " ".join(text.split())
