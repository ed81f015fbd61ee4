"""What a server reads and answers for each task."""

from typing import Any

from srulight.serving.limits import Limits
from srulight.serving.services.base import Service
from srulight.serving.services.questions import QuestionService
from srulight.serving.services.sequences import SequenceService
from srulight.serving.services.speech import SpeechService
from srulight.serving.services.texts import (
    LanguageModelService,
    TextService,
    TextTargetService,
    TranslationService,
)
from srulight.serving.services.videos import PoseService, VideoService
from srulight.tasks.base import Task
from srulight.tasks.language_modeling import LanguageModeling
from srulight.tasks.pose_estimation import PoseEstimation
from srulight.tasks.question_answering import QuestionAnswering
from srulight.tasks.sequence_prediction import SequencePrediction
from srulight.tasks.speech_recognition import SpeechRecognition
from srulight.tasks.target_task import TargetTask
from srulight.tasks.translation import Translation
from srulight.tasks.video_prediction import BoostedVideoPrediction, VideoPrediction

_SERVICES: tuple[tuple[Any, Any], ...] = (
    (SequencePrediction, SequenceService),
    (VideoPrediction, VideoService),
    (BoostedVideoPrediction, VideoService),
    (PoseEstimation, PoseService),
    (SpeechRecognition, SpeechService),
    (QuestionAnswering, QuestionService),
    (Translation, TranslationService),
    (LanguageModeling, LanguageModelService),
    (TargetTask, TextTargetService),
)


def service_of(task: Task, limits: Limits) -> Service:
    """Returns what serves a task. A task of a plug-in is expected to read texts.

    Args:
        task: A task that was loaded from a checkpoint.
        limits: Limits on requests.
    """
    for kind, service in _SERVICES:
        if isinstance(task, kind):
            found: Service = service(task, limits)
            return found
    return TextService(task, limits)
