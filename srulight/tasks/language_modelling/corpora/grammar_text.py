"""Sentences of the embedded grammar."""

from pathlib import Path

from srulight.data.grammar import GrammarSizes, draw
from srulight.runtime.atomic_io import written
from srulight.runtime.cache import cache_folder
from srulight.runtime.errors import check_range
from srulight.tasks.language_modelling.corpora.base import Span, Spans, TextCorpus


class GrammarText(TextCorpus):
    """Sentences of the small grammar inside the package, one a line: needs no files.

    Args:
        train_size: Training sentences.
        val_size: Validation sentences.
        test_size: Test sentences.
        seed: Number that decides which sentences are made.
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
