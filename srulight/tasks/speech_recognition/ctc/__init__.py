"""Decoders of connectionist temporal classification (CTC; Graves et al. 2006)."""

from srulight.tasks.speech_recognition.ctc.base import Decoder, Token
from srulight.tasks.speech_recognition.ctc.beam import BeamSearch
from srulight.tasks.speech_recognition.ctc.greedy import Greedy
from srulight.tasks.speech_recognition.ctc.kenlm_model import KenLM, read_ngram
from srulight.tasks.speech_recognition.ctc.ngram import NGram, WordModel
from srulight.tasks.speech_recognition.ctc.settings import DecoderSettings

__all__ = [
    "BeamSearch",
    "Decoder",
    "DecoderSettings",
    "Greedy",
    "KenLM",
    "NGram",
    "Token",
    "WordModel",
    "read_ngram",
]
