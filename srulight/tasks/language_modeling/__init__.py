"""Language modeling: predicts the next word, character, byte or subword of running text."""

from srulight.tasks.language_modeling.corpora import GrammarText, TextCorpus, TextFiles
from srulight.tasks.language_modeling.data import EvaluationSettings, LanguageModelingData
from srulight.tasks.language_modeling.sampling import Sampler
from srulight.tasks.language_modeling.task import LanguageModeling, Score

__all__ = [
    "EvaluationSettings",
    "GrammarText",
    "LanguageModeling",
    "LanguageModelingData",
    "Sampler",
    "Score",
    "TextCorpus",
    "TextFiles",
]
