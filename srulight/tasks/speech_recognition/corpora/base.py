"""What a corpus of transcribed speech is."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple


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


class SpeechCorpus(ABC):
    """Knows where the recordings of a corpus are and what is said in them."""

    @abstractmethod
    def fetch(self, root: Path) -> None:
        """Downloads whatever of the corpus is not there yet, and checks it.

        Args:
            root: Folder of the files; made if missing.

        Raises:
            InputError: If something cannot be had this way.
        """

    @abstractmethod
    def read(self, root: Path) -> SpeechSplits:
        """Finds all the recordings, without listening to them, and reads the transcripts.

        Args:
            root: Folder of the files.

        Raises:
            InputError: If a file is missing or is not what it should be.
        """
