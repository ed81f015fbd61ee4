"""Data modules, and the corpora they read."""

from srulight.data.base import TaskData
from srulight.data.corpus import Corpus
from srulight.data.flat_files import FlatFiles
from srulight.data.grammar import Grammar
from srulight.data.language_modelling import LanguageModellingData
from srulight.data.stanford_trees import StanfordTrees
from srulight.data.tables import Tables
from srulight.data.text_classification import TextClassificationData
from srulight.data.texts import GrammarText, TextCorpus, TextFiles

__all__ = [
    "Corpus",
    "FlatFiles",
    "Grammar",
    "GrammarText",
    "LanguageModellingData",
    "StanfordTrees",
    "Tables",
    "TaskData",
    "TextClassificationData",
    "TextCorpus",
    "TextFiles",
]
