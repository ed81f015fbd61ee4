"""A batch of sentence pairs, and the special tokens of both sides."""

from typing import NamedTuple

from torch import Tensor

from srulight.text.tokenizers import BEGIN, END, PAD, UNKNOWN

SPECIALS = (PAD, UNKNOWN, BEGIN, END)
"""Names of the special tokens, which are the same on both sides."""

PAD_ID, UNKNOWN_ID, BEGIN_ID, END_ID = range(len(SPECIALS))
"""Ids of the special tokens."""


class TranslationBatch(NamedTuple):
    """A padded batch of sentences and their translations.

    Attributes:
        source: Source token ids, (B, S) int64, each sentence ending with ``</s>`` and padded on the
            right with 0.
        source_lengths: Number of tokens in each source sentence, (B,) int64, at least 1.
        target: Target token ids, (B, T) int64, each translation starting with ``<s>`` and padded on
            the right with 0.
        labels: Token that follows each target token, (B, T) int64, the last one ``</s>``; -100 in
            padding, and everywhere in a placeholder sentence that fills the batch of a process.
        texts: Source sentence and reference translation of each pair, as text; None for sentences
            that validation does not translate. The list is empty during training.
        size: Number of tokens on both sides, without padding.
    """

    source: Tensor
    source_lengths: Tensor
    target: Tensor
    labels: Tensor
    texts: list[tuple[str, str] | None]
    size: int

    @property
    def unit(self) -> str:
        """Unit in which the training speed is reported."""
        return "tokens"
