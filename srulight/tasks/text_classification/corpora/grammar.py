"""Sentences of the embedded grammar."""

from pathlib import Path

from srulight.data.grammar import GrammarSizes, draw
from srulight.runtime.errors import check_range
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus, Splits


class Grammar(SentenceCorpus):
    """Sentences about films, made on the spot: works without files and without a network.

    Praise and blame are negated, weighed, contrasted and reported by others, and the label
    follows from the rules. Most sentences have a twin with the same words in another order and
    the opposite label, so a model that does not read the order fails. No two sentences are
    equal; the test and validation sentences do not depend on ``train_size``.

    Args:
        train_size: Training sentences.
        val_size: Validation sentences.
        test_size: Test sentences.
        seed: Number that decides which sentences are made.
    """

    def __init__(
        self, train_size: int = 6000, val_size: int = 1000, test_size: int = 1000, seed: int = 0
    ) -> None:
        check_range(1, train_size=train_size, val_size=val_size, test_size=test_size)
        self.sizes = GrammarSizes(train_size, val_size, test_size, seed)

    def read(self, root: Path) -> Splits:
        train, val, test = (
            [Example(text, int(is_praise)) for text, is_praise in sentences]
            for sentences in draw(self.sizes)
        )
        return Splits(train, val, test, ["negative", "positive"], is_tokenized=True)
