"""N-gram language models that KenLM reads, in an eighth of the time and a seventh of the memory."""

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

_NOTHING = -100.0  # KenLM's log-probability of an unknown word if the model has no <unk>
_LEAST = -1e9  # replaces minus infinity, which a weight of 0 would turn into NaN


def read_ngram(path: Path) -> WordModel[Any]:
    """Reads an ARPA file with KenLM if it is installed and can read the file, else with ``NGram``.

    Both return the same probabilities up to the seventh digit.

    Args:
        path: The file, plain or compressed with gzip.

    Returns:
        The language model.

    Raises:
        InputError: As in ``NGram.read``.
    """
    try:
        return KenLM(path)
    except (ImportError, OSError, RuntimeError, ValueError, MemoryError):
        return NGram.read(path)  # If the file is at fault, this raises a precise error.


class KenLM(WordModel[Any]):
    """An n-gram language model that KenLM reads, with the probabilities of ``NGram``.

    Heafield (2011), KenLM: Faster and Smaller Language Model Queries, WMT. Binary files of KenLM
    are refused, because KenLM does not validate them and a wrong byte can crash the process.

    Args:
        path: ARPA file, plain or in a compression that KenLM was built with.

    Raises:
        ImportError: If KenLM is not installed.
        OSError: If KenLM cannot read the file.
        ValueError: If the path is not a regular file, or the file is binary.
    """

    def __init__(self, path: Path) -> None:
        import kenlm

        if not path.is_file():
            raise ValueError(f"{path}: expected a regular file")
        with path.open("rb") as file:
            if file.read(len(BINARY)) == BINARY:
                raise ValueError(f"{path}: expected an ARPA file, got a binary file of KenLM")
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
