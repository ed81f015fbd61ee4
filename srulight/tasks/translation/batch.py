"""A batch of sentence pairs, and the special tokens in it."""

from typing import NamedTuple

from torch import Tensor

from srulight.text.tokenizers import BEGIN, END, PAD, UNKNOWN

SPECIALS = (PAD, UNKNOWN, BEGIN, END)
"""Names of the special tokens on both sides."""

PAD_ID, UNKNOWN_ID, BEGIN_ID, END_ID = range(len(SPECIALS))
"""Their ids."""


class TranslationBatch(NamedTuple):
    """Padded sentences with their translations.

    Attributes:
        source: Token ids, (B, S) int64, ``</s>`` at the end, padded on the right with 0.
        source_lengths: Tokens of each sentence, (B,) int64, at least 1.
        target: Token ids of the translations, (B, T) int64, ``<s>`` at the beginning, padded on the
            right with 0.
        labels: The next token of each, (B, T) int64, the last one ``</s>``; -100 where padded, and
            in all of a sentence that only fills up the batch of a process.
        texts: Source and reference translation of each sentence, as texts; None for sentences that
            are not translated in validation. Empty while training.
        size: Tokens in the batch, of both sides, without padding.
    """

    source: Tensor
    source_lengths: Tensor
    target: Tensor
    labels: Tensor
    texts: list[tuple[str, str] | None]
    size: int

    @property
    def unit(self) -> str:
        """What speed is counted in."""
        return "tokens"
