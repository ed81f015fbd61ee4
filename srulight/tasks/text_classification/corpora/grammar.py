"""Labeled sentences of the embedded grammar."""

from pathlib import Path

from srulight.data.grammar import GrammarSizes, draw
from srulight.runtime.errors import check_range
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus, Splits


class Grammar(SentenceCorpus):
    """Generated sentences about films, which need neither files nor a network.

    The sentences contain negation, degree words, contrast and reported opinions; the rules of the
    grammar determine the label, positive or negative. Most sentences have a twin with the same
    words in another order and the opposite label, so that a model which ignores word order fails.
    All sentences are distinct. The test and validation sentences do not depend on ``train_size``.

    Args:
        train_size: Number of training sentences.
        val_size: Number of validation sentences.
        test_size: Number of test sentences.
        seed: Seed that determines which sentences are generated.
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
