"""One class for a whole sentence."""

from srulight.tasks.text_classification.corpora import (
    Corpus,
    FlatFiles,
    Grammar,
    StanfordTrees,
    Tables,
)
from srulight.tasks.text_classification.data import TextClassificationData
from srulight.tasks.text_classification.task import Prediction, TextClassification

__all__ = [
    "Corpus",
    "FlatFiles",
    "Grammar",
    "Prediction",
    "StanfordTrees",
    "Tables",
    "TextClassification",
    "TextClassificationData",
]
