"""From scores of frames to tokens (Graves et al. 2006)."""

from srulight.tasks.speech_recognition.ctc.base import Decoder, Token
from srulight.tasks.speech_recognition.ctc.beam import BeamSearch
from srulight.tasks.speech_recognition.ctc.greedy import Greedy
from srulight.tasks.speech_recognition.ctc.kenlm_model import KenLM, read_ngram
from srulight.tasks.speech_recognition.ctc.ngram import NGram, WordModel

__all__ = [
    "BeamSearch",
    "Decoder",
    "Greedy",
    "KenLM",
    "NGram",
    "Token",
    "WordModel",
    "read_ngram",
]
