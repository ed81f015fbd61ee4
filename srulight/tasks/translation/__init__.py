"""The translation task: data, models, beam search and prediction."""

from srulight.tasks.translation.corpora import ParallelCorpus, ParallelText, SyntheticNumbers
from srulight.tasks.translation.data import TranslationData
from srulight.tasks.translation.dataset import PairFilters
from srulight.tasks.translation.generation import PredictedTranslation
from srulight.tasks.translation.models import AttentionRNN, Transformer, Translator
from srulight.tasks.translation.settings import SearchSettings
from srulight.tasks.translation.task import Translation

__all__ = [
    "AttentionRNN",
    "PairFilters",
    "ParallelCorpus",
    "ParallelText",
    "PredictedTranslation",
    "SearchSettings",
    "SyntheticNumbers",
    "Transformer",
    "Translation",
    "TranslationData",
    "Translator",
]
