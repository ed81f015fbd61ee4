"""Corpora of running text.

A configuration can name each class that is imported here without its module.
"""

from srulight.tasks.language_modelling.corpora.base import TextCorpus
from srulight.tasks.language_modelling.corpora.grammar_text import GrammarText
from srulight.tasks.language_modelling.corpora.text_files import TextFiles

__all__ = [
    "GrammarText",
    "TextCorpus",
    "TextFiles",
]
