"""Translators a configuration can name: each class imported here is known by its bare name."""

from srulight.translators.attention_rnn import AttentionRNN
from srulight.translators.base import (
    Decoded,
    Memory,
    State,
    Translator,
    TranslatorFactory,
    select_state,
)
from srulight.translators.transformer import Transformer

__all__ = [
    "AttentionRNN",
    "Decoded",
    "Memory",
    "State",
    "Transformer",
    "Translator",
    "TranslatorFactory",
    "select_state",
]
