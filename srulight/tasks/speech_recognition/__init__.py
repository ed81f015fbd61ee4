"""Speech recognition with connectionist temporal classification (CTC)."""

from srulight.tasks.speech_recognition.corpora import (
    AN4,
    FSDD,
    LibriSpeech,
    Manifest,
    SpeechCorpus,
    SyntheticDTMF,
    YesNo,
)
from srulight.tasks.speech_recognition.ctc import BeamSearch, DecoderSettings, Greedy
from srulight.tasks.speech_recognition.data import SpeechRecognitionData
from srulight.tasks.speech_recognition.frontend.frontend import FeatureSettings
from srulight.tasks.speech_recognition.layers import (
    Convolutions,
    SpecAugment,
    SpecAugmentSettings,
    Stacking,
)
from srulight.tasks.speech_recognition.streaming import StreamingRecognizer
from srulight.tasks.speech_recognition.task import SpeechRecognition
from srulight.tasks.speech_recognition.transcript import Spoken, Transcript

__all__ = [
    "AN4",
    "FSDD",
    "BeamSearch",
    "Convolutions",
    "DecoderSettings",
    "FeatureSettings",
    "Greedy",
    "LibriSpeech",
    "Manifest",
    "SpecAugment",
    "SpecAugmentSettings",
    "SpeechCorpus",
    "SpeechRecognition",
    "SpeechRecognitionData",
    "Spoken",
    "Stacking",
    "StreamingRecognizer",
    "SyntheticDTMF",
    "Transcript",
    "YesNo",
]
