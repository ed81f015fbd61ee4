"""Words out of sound."""

from srulight.tasks.speech_recognition.corpora import (
    AN4,
    FSDD,
    LibriSpeech,
    Manifest,
    SpeechCorpus,
    SyntheticDTMF,
    YesNo,
)
from srulight.tasks.speech_recognition.ctc import BeamSearch, Greedy
from srulight.tasks.speech_recognition.data import SpeechRecognitionData
from srulight.tasks.speech_recognition.layers import Convolutions, SpecAugment, Stacking
from srulight.tasks.speech_recognition.task import SpeechRecognition, Spoken, Transcript

__all__ = [
    "AN4",
    "FSDD",
    "BeamSearch",
    "Convolutions",
    "Greedy",
    "LibriSpeech",
    "Manifest",
    "SpecAugment",
    "SpeechCorpus",
    "SpeechRecognition",
    "SpeechRecognitionData",
    "Spoken",
    "Stacking",
    "SyntheticDTMF",
    "Transcript",
    "YesNo",
]
