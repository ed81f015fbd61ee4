"""Corpora of labeled sentences.

A configuration can name each class that is imported here without its module.
"""

from srulight.tasks.text_classification.corpora.base import SentenceCorpus
from srulight.tasks.text_classification.corpora.flat_files import FlatFiles
from srulight.tasks.text_classification.corpora.grammar import Grammar
from srulight.tasks.text_classification.corpora.stanford_trees import StanfordTrees
from srulight.tasks.text_classification.corpora.tables import Tables

__all__ = [
    "FlatFiles",
    "Grammar",
    "SentenceCorpus",
    "StanfordTrees",
    "Tables",
]
