"""Speech corpora. Configurations name each class imported here without its module."""

from srulight.tasks.speech_recognition.corpora.an4 import AN4
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus
from srulight.tasks.speech_recognition.corpora.fsdd import FSDD
from srulight.tasks.speech_recognition.corpora.librispeech import LibriSpeech
from srulight.tasks.speech_recognition.corpora.manifest import Manifest
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF
from srulight.tasks.speech_recognition.corpora.yesno import YesNo

__all__ = [
    "AN4",
    "FSDD",
    "LibriSpeech",
    "Manifest",
    "SpeechCorpus",
    "SyntheticDTMF",
    "YesNo",
]
