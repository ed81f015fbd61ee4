"""Base class of speech corpora."""

from pathlib import Path
from typing import NamedTuple

from srulight.data.base import Corpus


class Utterance(NamedTuple):
    """An utterance and its transcript.

    Attributes:
        audio: Audio files, usually one; several are played one after the other. Or one file of
            precomputed frames, (T, F), whose name ends in .npy.
        text: Transcript.
        where: Name of the utterance in error messages: manifest and line, or name of the file.
        speaker: Name of the speaker, if known.
        seconds: Duration in seconds, if known. A recording of another duration is refused.
        pause: Silence between two files, in seconds.
    """

    audio: tuple[Path, ...]
    text: str
    where: str
    speaker: str | None = None
    seconds: float | None = None
    pause: float = 0.0


class SpeechSplits(NamedTuple):
    """The splits of a speech corpus.

    Attributes:
        train: Training utterances.
        val: Validation utterances.
        test: Test utterances; may be empty.
    """

    train: list[Utterance]
    val: list[Utterance]
    test: list[Utterance]


class SpeechCorpus(Corpus[SpeechSplits]):
    """Lists recordings and their transcripts. Reading a corpus does not open any audio file."""
