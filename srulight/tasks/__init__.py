"""Tasks a configuration can name: each class imported here is known by its bare name."""

from srulight.tasks.base import Task
from srulight.tasks.language_modelling import LanguageModelling, Score
from srulight.tasks.question_answering import Found, QuestionAnswering
from srulight.tasks.speech_recognition import SpeechRecognition, Spoken, Transcript
from srulight.tasks.text_classification import Prediction, TextClassification
from srulight.tasks.translation import Translation

__all__ = [
    "Found",
    "LanguageModelling",
    "Prediction",
    "QuestionAnswering",
    "Score",
    "SpeechRecognition",
    "Spoken",
    "Task",
    "TextClassification",
    "Transcript",
    "Translation",
]
