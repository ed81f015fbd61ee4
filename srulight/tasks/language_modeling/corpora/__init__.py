"""Corpora of running text.

A configuration can name each class that is imported here without its module.
"""

from srulight.tasks.language_modeling.corpora.base import TextCorpus
from srulight.tasks.language_modeling.corpora.grammar_text import GrammarText
from srulight.tasks.language_modeling.corpora.text_files import TextFiles

__all__ = [
    "GrammarText",
    "TextCorpus",
    "TextFiles",
]
