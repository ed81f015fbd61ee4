"""The words of many texts in one table: found once, by several processes, and kept in a file."""

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

_VERSION = 2  # Of the files below; raised when what they hold changes.
_PIECE = 500  # Texts that a process is given at a time.
_FEW = 4000  # Texts that are done before other processes would have started.


class TokenTable(NamedTuple):
    """The words of many texts, one text behind the other; S words in all.

    Attributes:
        forms: Every distinct word and lemma.
        words: Form of each word, (S,) int32.
        lemmas: Form of the lemma of each word, (S,) int32; (0,) if they are not known.
        tags: Tag of each word, (K, S) int32, numbers as in ``tag_names``; K is 0 without tags.
        tag_names: Names of the tags of each of the K kinds.
        starts: Where each word begins in its text, in characters, (S,) int32.
        ends: Where each word ends, (S,) int32.
        bounds: Where each of the N texts begins, and the last ends, in words, (N + 1,) int64.
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
        """Gives where the words of a text are."""
        return slice(int(self.bounds[text]), int(self.bounds[text + 1]))

    def counts(self, lowercase: bool, first: int = 0) -> Counter[str]:
        """Counts the words.

        Args:
            lowercase: Whether to count them in lower case.
            first: Number of the first text whose words are counted.
        """
        words = self.words[int(self.bounds[first]) :]
        numbers = words.bincount(minlength=len(self.forms)).tolist()
        counts: Counter[str] = Counter()
        for form, number in zip(self.forms, numbers, strict=True):
            if number:
                counts[form.lower() if lowercase else form] += number
        return counts


def token_table(texts: Iterable[Annotated]) -> TokenTable:
    """Puts the words of texts into a table."""
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
    """Gives the words of the contexts, and behind them those of all questions, in order.

    Args:
        paragraphs: The texts.
        tokenizer: Splits them.
        annotator: Name of a spaCy pipeline; None for words alone.
        workers: Processes that find the words; None for as many as there are cores, if the texts
            are many or spaCy tags them.
        name: What the progress bar calls the texts.

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
    # Started anew: a copy of a process in which torch has computed may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start, (build,)) as pool:
        yield from pool.map(_annotate, pieces)


_annotator: Annotator


def _start(build: Callable[[], Annotator]) -> None:
    """Makes the annotator of a process."""
    global _annotator
    _annotator = build()


def _annotate(texts: list[str]) -> list[Annotated]:
    return list(_annotator(texts))
