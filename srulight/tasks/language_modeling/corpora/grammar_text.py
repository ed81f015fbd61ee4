"""Text of the embedded grammar."""

from pathlib import Path

from srulight.data.grammar import GrammarSizes, draw
from srulight.runtime.atomic_io import written
from srulight.runtime.cache import cache_folder
from srulight.runtime.errors import check_range
from srulight.tasks.language_modeling.corpora.base import Span, Spans, TextCorpus


class GrammarText(TextCorpus):
    """Sentences of a small grammar, one per line, which need neither files nor a network.

    Args:
        train_size: Number of training sentences.
        val_size: Number of validation sentences.
        test_size: Number of test sentences.
        seed: Seed that determines which sentences are generated.
    """

    def __init__(
        self, train_size: int = 6000, val_size: int = 600, test_size: int = 600, seed: int = 0
    ) -> None:
        check_range(1, train_size=train_size, val_size=val_size, test_size=test_size)
        self.sizes = GrammarSizes(train_size, val_size, test_size, seed)

    def read(self, root: Path) -> Spans:
        folder = cache_folder() / "grammar"
        spans = []
        for name, sentences in zip(("train", "val", "test"), draw(self.sizes), strict=True):
            path = folder / f"{name}-{'-'.join(map(str, self.sizes))}.txt"
            text = "".join(f"{sentence.text}\n" for sentence in sentences).encode()
            if not path.is_file() or path.read_bytes() != text:
                with written(path) as part:
                    part.write_bytes(text)
            spans.append(Span(path, 0, len(text)))
        return Spans(*spans)
