"""A batch of sentence pairs."""

from typing import NamedTuple

from torch import Tensor


class TranslationBatch(NamedTuple):
    """Padded sentences with their translations.

    Attributes:
        source: Token ids, (B, S) int64, padded on the right with 0.
        source_lengths: Real tokens of each sentence, (B,) int64, at least 1.
        target: Token ids of the translations, (B, T) int64, each after a token that begins it;
            padded on the right with 0.
        labels: Token that follows each, (B, T) int64, the last one a token that ends it; -100 where
            padded, and in all of a sentence that only fills up.
        texts: Of each sentence the source, and the translation to compare with, as texts; None for
            sentences that need not be translated to be measured. Empty while training.
        size: Real tokens in the batch, of both sides.
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
