"""Translators. Configurations can name each class imported here without its module."""

from srulight.tasks.translation.models.attention_rnn import AttentionRNN
from srulight.tasks.translation.models.base import Translator, TranslatorFactory
from srulight.tasks.translation.models.transformer import Transformer

__all__ = [
    "AttentionRNN",
    "Transformer",
    "Translator",
    "TranslatorFactory",
]
