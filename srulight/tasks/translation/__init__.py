"""Sentences of one language in another."""

from srulight.tasks.translation.corpora import ParallelCorpus, ParallelText, SyntheticNumbers
from srulight.tasks.translation.data import TranslationData
from srulight.tasks.translation.models import AttentionRNN, Transformer, Translator
from srulight.tasks.translation.task import Translation

__all__ = [
    "AttentionRNN",
    "ParallelCorpus",
    "ParallelText",
    "SyntheticNumbers",
    "Transformer",
    "Translation",
    "TranslationData",
    "Translator",
]
