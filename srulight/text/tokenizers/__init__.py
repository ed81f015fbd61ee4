"""Text as tokens, and back: words, characters, bytes or pieces of words."""

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
"""Shape of a tokenizer's settings, as for ``structure.require``; ``from_settings`` sees to more."""


def from_settings(
    settings: dict[str, Any], specials: Sequence[str], where: str = "tokenizer"
) -> Tokenizer:
    """Makes the tokenizer that has these ``settings``, which are not trusted.

    Args:
        settings: Plain data.
        specials: Names of the special tokens that it must have.
        where: What an error calls the settings.

    Raises:
        InputError: If they are not those of a tokenizer with these special tokens.
    """
    # Both import torch.
    from srulight.runtime.fields import known
    from srulight.runtime.structure import require

    require(settings, SETTINGS, where)
    kind = known(settings["kind"], (Tokenizer,))
    if kind is None or not issubclass(kind, Tokenizer):
        raise InputError(
            f"{where}.kind must be a tokenizer that is known here, such as Words, got "
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
