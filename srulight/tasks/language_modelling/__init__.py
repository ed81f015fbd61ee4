"""The next word, character, byte or piece of a word of a running text."""

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
