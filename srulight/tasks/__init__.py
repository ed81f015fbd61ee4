"""Tasks a configuration can name: each class imported here is known by its bare name."""

from srulight.tasks.base import Task
from srulight.tasks.language_modelling import LanguageModelling, Score
from srulight.tasks.text_classification import Prediction, TextClassification

__all__ = ["LanguageModelling", "Prediction", "Score", "Task", "TextClassification"]
