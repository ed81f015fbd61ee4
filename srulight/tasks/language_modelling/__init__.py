"""Language modeling: predicts the next word, character, byte or subword of running text."""

from srulight.tasks.language_modelling.corpora import GrammarText, TextCorpus, TextFiles
from srulight.tasks.language_modelling.data import EvaluationSettings, LanguageModellingData
from srulight.tasks.language_modelling.sampling import Sampler
from srulight.tasks.language_modelling.task import LanguageModelling, Score

__all__ = [
    "EvaluationSettings",
    "GrammarText",
    "LanguageModelling",
    "LanguageModellingData",
    "Sampler",
    "Score",
    "TextCorpus",
    "TextFiles",
]
