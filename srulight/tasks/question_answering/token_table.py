"""Tables of the words of many texts, computed by several processes and cached."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from srulight.runtime.cache import cache_key, cached
from srulight.runtime.devices import usable_cores
from srulight.runtime.progress import progress
from srulight.tasks.question_answering.annotation import Annotated, Annotator
from srulight.tasks.question_answering.corpora.base import Paragraph
from srulight.text.tokenizers import Words

_VERSION = 2  # Format of the cached tables; increase it when their content changes.
_PIECE = 500  # Number of texts that a worker process gets at a time.
_FEW = 4000  # Number of texts below which starting worker processes does not pay.


class TokenTable(NamedTuple):
    """The words of N texts, concatenated to S words.

    Attributes:
        forms: Distinct words and lemmas.
        words: Index of each word in ``forms``, (S,) int32.
        lemmas: Index of the lemma of each word in ``forms``, (S,) int32; (0,) without lemmas.
        tags: Index of each tag in ``tag_names``, (K, S) int32; K is 0 without tags.
        tag_names: Distinct tags of each of the K kinds.
        starts: Start of each word in its text, in characters, (S,) int32.
        ends: End of each word in its text, in characters, (S,) int32.
        bounds: Start of each text, and end of the last one, in words, (N + 1,) int64.
    """

    forms: list[str]
    words: Tensor
    lemmas: Tensor
    tags: Tensor
    tag_names: list[list[str]]
    starts: Tensor
    ends: Tensor
    bounds: Tensor

    def place(self, text: int) -> slice:
        """Gives the slice with the words of a text."""
        return slice(int(self.bounds[text]), int(self.bounds[text + 1]))

    def counts(self, lowercase: bool, first: int = 0) -> Counter[str]:
        """Counts how often each word occurs.

        Args:
            lowercase: Whether to convert words to lower case first.
            first: Index of the first text to count.

        Returns:
            The count of each word.
        """
        words = self.words[int(self.bounds[first]) :]
        numbers = words.bincount(minlength=len(self.forms)).tolist()
        counts: Counter[str] = Counter()
        for form, number in zip(self.forms, numbers, strict=True):
            if number:
                counts[form.lower() if lowercase else form] += number
        return counts


def token_table(texts: Iterable[Annotated]) -> TokenTable:
    """Builds the table of annotated texts."""
    forms: dict[str, int] = {}
    names: list[dict[str, int]] = []
    words: list[int] = []
    lemmas: list[int] = []
    tags: list[list[int]] = []
    starts: list[int] = []
    ends: list[int] = []
    bounds = [0]

    def number(known: dict[str, int], wanted: list[str]) -> list[int]:
        return [known.setdefault(one, len(known)) for one in wanted]

    for text in texts:
        words += number(forms, text.words)
        lemmas += number(forms, text.lemmas)
        if not names:
            names = [{} for _ in text.tags]
            tags = [[] for _ in text.tags]
        for known, column, given in zip(names, tags, text.tags, strict=True):
            column += number(known, given)
        starts += text.starts
        ends += text.ends
        bounds.append(len(words))
    return TokenTable(
        list(forms),
        torch.tensor(words, dtype=torch.int32),
        torch.tensor(lemmas, dtype=torch.int32),
        torch.tensor(tags, dtype=torch.int32).view(len(names), -1 if names else len(words)),
        [list(known) for known in names],
        torch.tensor(starts, dtype=torch.int32),
        torch.tensor(ends, dtype=torch.int32),
        torch.tensor(bounds),
    )


def paragraph_tokens(
    paragraphs: Sequence[Paragraph],
    tokenizer: Words,
    annotator: str | None,
    workers: int | None,
    name: str,
) -> TokenTable:
    """Builds the table of all contexts followed by all questions, or reads it from the cache.

    Args:
        paragraphs: Paragraphs with their questions.
        tokenizer: Tokenizer that splits the texts.
        annotator: Name or folder of a spaCy pipeline, or None.
        workers: Number of processes that split the texts. None means one per core if there are many
            texts or spaCy tags them, and the main process otherwise.
        name: Name of the split, for the progress bar.

    Returns:
        The table, mapped into memory.

    Raises:
        InputError: If spaCy or its pipeline is not installed.
    """
    texts = [paragraph.context for paragraph in paragraphs]
    texts += [question.text for paragraph in paragraphs for question in paragraph.questions]
    key = cache_key(_VERSION, annotator, tokenizer.split, texts)
    if workers is None:
        few = annotator is None and len(texts) < _FEW
        workers = 0 if few else usable_cores()

    def make(folder: Path) -> None:
        pieces = [texts[start : start + _PIECE] for start in range(0, len(texts), _PIECE)]
        found = _annotated(pieces, partial(Annotator, tokenizer, annotator), workers)
        shown = progress(found, f"reading {name}", len(pieces))
        torch.save(token_table(chain.from_iterable(shown))._asdict(), folder / "words.pt")

    path = cached("questions", key, make) / "words.pt"
    return TokenTable(**torch.load(path, mmap=True, weights_only=True))


def _annotated(
    pieces: list[list[str]], build: Callable[[], Annotator], workers: int
) -> Iterator[list[Annotated]]:
    if workers < 2:
        annotate = build()
        yield from (list(annotate(piece)) for piece in pieces)
        return
    # A forked process may hang after torch has used threads, so spawn new ones.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start, (build,)) as pool:
        yield from pool.map(_annotate, pieces)


_annotator: Annotator


def _start(build: Callable[[], Annotator]) -> None:
    """Creates the annotator of a worker process."""
    global _annotator
    _annotator = build()


def _annotate(texts: list[str]) -> list[Annotated]:
    return list(_annotator(texts))
