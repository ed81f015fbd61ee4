"""The next word, character or byte of a running text."""

from srulight.tasks.language_modelling.corpora import GrammarText, TextCorpus, TextFiles
from srulight.tasks.language_modelling.data import LanguageModellingData
from srulight.tasks.language_modelling.task import LanguageModelling, Score

__all__ = [
    "GrammarText",
    "LanguageModelling",
    "LanguageModellingData",
    "Score",
    "TextCorpus",
    "TextFiles",
]
