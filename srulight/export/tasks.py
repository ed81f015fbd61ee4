"""Finds the exported network of a task."""

from typing import Any

from srulight.export.networks.base import Network
from srulight.export.networks.language_modeling import LanguageModelNetwork
from srulight.export.networks.pose_estimation import PoseNetwork
from srulight.export.networks.question_answering import ReaderNetwork
from srulight.export.networks.sequence_prediction import SequenceNetwork
from srulight.export.networks.speech_recognition import SpeechNetwork
from srulight.export.networks.text_classification import ClassifierNetwork
from srulight.export.networks.translation import TranslationNetwork
from srulight.export.networks.video_prediction import BoostedNetwork, VideoNetwork
from srulight.runtime.errors import InputError
from srulight.tasks.base import Task
from srulight.tasks.language_modeling.task import LanguageModeling
from srulight.tasks.pose_estimation.task import PoseEstimation
from srulight.tasks.question_answering.task import QuestionAnswering
from srulight.tasks.sequence_prediction.task import SequencePrediction
from srulight.tasks.speech_recognition.task import SpeechRecognition
from srulight.tasks.text_classification.task import TextClassification
from srulight.tasks.translation.task import Translation
from srulight.tasks.video_prediction.boosting import BoostedVideoPrediction
from srulight.tasks.video_prediction.task import VideoPrediction

NETWORKS: dict[type[Task], type[Network[Any]]] = {
    TextClassification: ClassifierNetwork,
    LanguageModeling: LanguageModelNetwork,
    SpeechRecognition: SpeechNetwork,
    Translation: TranslationNetwork,
    QuestionAnswering: ReaderNetwork,
    SequencePrediction: SequenceNetwork,
    VideoPrediction: VideoNetwork,
    BoostedVideoPrediction: BoostedNetwork,
    PoseEstimation: PoseNetwork,
}
"""The networks of all tasks that can be exported."""


def network_of(task: Task) -> Network[Any]:
    """Returns the network of a task.

    Args:
        task: A trained task.

    Raises:
        InputError: If networks of this task cannot be exported.
    """
    for kind, network in NETWORKS.items():
        if isinstance(task, kind):
            return network(task.cpu().eval())
    names = ", ".join(kind.__name__ for kind in NETWORKS)
    raise InputError(
        f"{type(task).__name__} cannot be exported; pass the checkpoint of one of {names}"
    )
