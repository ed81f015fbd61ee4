"""Running texts: each class imported here is known by its bare name."""

from srulight.tasks.language_modelling.corpora.text_files import GrammarText, TextCorpus, TextFiles

__all__ = [
    "GrammarText",
    "TextCorpus",
    "TextFiles",
]
