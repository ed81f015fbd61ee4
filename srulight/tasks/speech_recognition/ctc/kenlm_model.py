"""N-gram models read by KenLM: in an eighth of the time, a seventh of the memory."""

from pathlib import Path
from typing import Any

from srulight.runtime.files import well_formed
from srulight.tasks.speech_recognition.ctc.ngram import (
    BINARY,
    FLOOR,
    LN10,
    UNKNOWN,
    NGram,
    WordModel,
)

_NOTHING = -100.0  # what KenLM takes for the logarithm of a word that the model says nothing of
_LEAST = -1e9  # for what a file says is impossible: no weight makes it anything but a number


def read_ngram(path: Path) -> WordModel[Any]:
    """Reads an ARPA file by KenLM if that is installed and can, and else by ``NGram``.

    Both give the same probabilities, but for the seventh digit.

    Args:
        path: The file; plain, or compressed by gzip.

    Raises:
        InputError: As ``NGram.read``.
    """
    try:
        return KenLM(path)
    except (ImportError, OSError, RuntimeError, ValueError, MemoryError):
        return NGram.read(path)  # or says what is wrong with the file


class KenLM(WordModel[Any]):
    """What ``NGram`` says, of a file that KenLM reads.

    Heafield (2011), KenLM: Faster and Smaller Language Model Queries, WMT. Its binary files are
    refused: of these it believes every byte, and a wrong one is a crash.

    Args:
        path: ARPA file; plain, or compressed as KenLM was built to read.

    Raises:
        ImportError: If KenLM is not installed.
        OSError: If it cannot read the file.
        ValueError: If the file is no regular one, or binary.
    """

    def __init__(self, path: Path) -> None:
        import kenlm

        if not path.is_file():
            raise ValueError(f"{path} is no file")
        with path.open("rb") as file:
            if file.read(len(BINARY)) == BINARY:
                raise ValueError(f"{path} is binary")
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        self._new_state = kenlm.State
        self._model = kenlm.Model(str(path), config)
        self._start = kenlm.State()
        self._model.BeginSentenceWrite(self._start)
        nowhere = kenlm.State()
        self._model.NullContextWrite(nowhere)
        is_known = self._model.BaseScore(nowhere, UNKNOWN, kenlm.State()) > _NOTHING
        self._of_unknown = 0.0 if is_known else FLOOR - _NOTHING

    @property
    def start(self) -> Any:  # noqa: ANN401
        return self._start

    def score(self, state: Any, word: str) -> tuple[float, Any]:  # noqa: ANN401
        after = self._new_state()
        found = self._model.BaseFullScore(state, well_formed(word), after)
        log_prob = max(found.log_prob, _LEAST) + (self._of_unknown if found.oov else 0.0)
        return log_prob * LN10, after
