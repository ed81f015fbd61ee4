"""Tokenizers, which convert text to tokens and back: words, characters, bytes or subwords."""

from collections.abc import Sequence
from typing import Any

from srulight.runtime.errors import InputError
from srulight.text.tokenizers.base import (
    BEGIN,
    BLANK,
    END,
    END_OF_LINE,
    PAD,
    PAD_UNKNOWN,
    UNKNOWN,
    UNKNOWN_ID,
    Tokenizer,
)
from srulight.text.tokenizers.bytes import Bytes
from srulight.text.tokenizers.characters import Characters
from srulight.text.tokenizers.sentencepiece import SentencePiece
from srulight.text.tokenizers.words import Words

__all__ = [
    "BEGIN",
    "BLANK",
    "END",
    "END_OF_LINE",
    "PAD",
    "PAD_UNKNOWN",
    "SETTINGS",
    "UNKNOWN",
    "UNKNOWN_ID",
    "Bytes",
    "Characters",
    "SentencePiece",
    "Tokenizer",
    "Words",
    "from_settings",
]

SETTINGS = {"kind": str, "*": object}
"""Structure of a tokenizer's settings for ``structure.require``; ``from_settings`` checks more."""


def from_settings(
    settings: dict[str, Any], specials: Sequence[str], where: str = "tokenizer"
) -> Tokenizer:
    """Restores a tokenizer from its ``settings``, which are not trusted.

    Args:
        settings: Settings of the tokenizer as plain data.
        specials: Names of the special tokens that the tokenizer must have.
        where: Name of the settings in errors.

    Raises:
        InputError: If they are not the settings of a tokenizer with these special tokens.
    """
    # Imported late, because both modules import torch, which is slow.
    from srulight.runtime.fields import known
    from srulight.runtime.structure import require

    require(settings, SETTINGS, where)
    kind = known(settings["kind"], (Tokenizer,))
    if kind is None or not issubclass(kind, Tokenizer):
        raise InputError(
            f"{where}.kind must be the name of a tokenizer, such as 'Words', got "
            f"{settings['kind']!r:.60}"
        )
    learned = {"specials": [str], "lines": bool, "vocabulary": kind.shape}
    require(settings, {**kind.options, **learned}, where)
    if settings["specials"] != list(specials):
        raise InputError(
            f"{where}.specials must be {list(specials)}, got {settings['specials']!r:.200}"
        )
    made = kind(**{name: settings[name] for name in kind.options})
    return made.with_vocabulary(settings["vocabulary"], specials, settings["lines"])
