"""Text classification: one label per sentence."""

from srulight.tasks.text_classification.corpora import (
    FlatFiles,
    Grammar,
    SentenceCorpus,
    StanfordTrees,
    Tables,
)
from srulight.tasks.text_classification.data import TextClassificationData
from srulight.tasks.text_classification.task import TextClassification

__all__ = [
    "FlatFiles",
    "Grammar",
    "SentenceCorpus",
    "StanfordTrees",
    "Tables",
    "TextClassification",
    "TextClassificationData",
]
