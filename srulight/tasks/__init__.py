"""Tasks. A configuration can name each class that is imported here without its module."""

from srulight.tasks.base import Task
from srulight.tasks.language_modeling import LanguageModeling
from srulight.tasks.pose_estimation import PoseEstimation
from srulight.tasks.question_answering import QuestionAnswering
from srulight.tasks.sequence_prediction import SequencePrediction
from srulight.tasks.speech_recognition import SpeechRecognition
from srulight.tasks.text_classification import TextClassification
from srulight.tasks.translation import Translation
from srulight.tasks.video_prediction import BoostedVideoPrediction, VideoPrediction

__all__ = [
    "BoostedVideoPrediction",
    "LanguageModeling",
    "PoseEstimation",
    "QuestionAnswering",
    "SequencePrediction",
    "SpeechRecognition",
    "Task",
    "TextClassification",
    "Translation",
    "VideoPrediction",
]
