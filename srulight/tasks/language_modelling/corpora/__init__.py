"""Running texts: each class imported here is known by its bare name."""

from srulight.tasks.language_modelling.corpora.base import TextCorpus
from srulight.tasks.language_modelling.corpora.grammar_text import GrammarText
from srulight.tasks.language_modelling.corpora.text_files import TextFiles

__all__ = [
    "GrammarText",
    "TextCorpus",
    "TextFiles",
]
