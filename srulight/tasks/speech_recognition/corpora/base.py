"""What a corpus of transcribed speech is."""

from pathlib import Path
from typing import NamedTuple

from srulight.data.base import Corpus


class Utterance(NamedTuple):
    """Something that was said, and its transcript.

    Attributes:
        audio: Files of sound that are heard one after the other, most often one; or one file of
            features that are computed already, (T, F), whose name ends with .npy.
        text: What is said.
        where: What an error calls it: the manifest and line, or the name of the file.
        speaker: Who says it, if known.
        seconds: How long it takes, if something says so; what does not is truncated.
        pause: Silence between two files, in seconds.
    """

    audio: tuple[Path, ...]
    text: str
    where: str
    speaker: str | None = None
    seconds: float | None = None
    pause: float = 0.0


class SpeechSplits(NamedTuple):
    """Everything that a corpus of speech holds.

    Attributes:
        train: Utterances to learn from.
        val: Utterances to choose a model by.
        test: Utterances to report; empty where the corpus has none.
    """

    train: list[Utterance]
    val: list[Utterance]
    test: list[Utterance]


class SpeechCorpus(Corpus[SpeechSplits]):
    """Knows where recordings are and what is said in them; reading it listens to none of them."""
