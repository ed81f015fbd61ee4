"""The words of paragraphs and questions: found once, by several processes, and kept in a file."""

import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from srulight.runtime.cache import cached
from srulight.tasks.question_answering.annotation import Annotated, Annotator
from srulight.tasks.question_answering.corpora.base import Paragraph
from srulight.tasks.question_answering.features import TokenTable, token_table
from srulight.text.vocabulary import PlacingTokenizer

_VERSION = 2  # Of the files below; raised when what they hold changes.
_PIECE = 500  # Texts that a process is given at a time.
_FEW = 4000  # Texts that are done before other processes would have started.


def paragraph_tokens(
    paragraphs: Sequence[Paragraph],
    annotator: str | None,
    tokenizer: PlacingTokenizer,
    workers: int | None,
    name: str,
) -> TokenTable:
    """Gives the words of the contexts, and behind them those of all questions, in order.

    Args:
        paragraphs: The texts.
        annotator: Name of a spaCy pipeline; None for words alone.
        tokenizer: What words are, as for :func:`srulight.text.vocabulary.word_spans`.
        workers: Processes that find them; None for as many as there are cores, if the texts are
            many or spaCy reads them.
        name: What the progress bar calls them.

    Raises:
        InputError: If spaCy or its pipeline is not installed.
    """
    texts = [paragraph.context for paragraph in paragraphs]
    texts += [question.text for paragraph in paragraphs for question in paragraph.questions]
    recipe = json.dumps([_VERSION, annotator, tokenizer, texts])
    key = hashlib.sha256(recipe.encode()).hexdigest()[:24]

    def make(folder: Path) -> None:
        table = token_table(_annotated(texts, annotator, tokenizer, workers, name))
        torch.save(table._asdict(), folder / "words.pt")

    path = cached("questions", key, make) / "words.pt"
    return TokenTable(**torch.load(path, mmap=True, weights_only=True))


def usable_cores() -> int:
    """Counts the cores that this process may use; those of the machine where none says."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _annotated(
    texts: list[str],
    annotator: str | None,
    tokenizer: PlacingTokenizer,
    workers: int | None,
    name: str,
) -> Iterator[Annotated]:
    if workers is None:
        few = annotator is None and len(texts) < _FEW
        workers = 0 if few else usable_cores()
    pieces = [texts[start : start + _PIECE] for start in range(0, len(texts), _PIECE)]
    if workers < 2:
        annotate = Annotator(annotator, tokenizer)
        yield from _shown((list(annotate(piece)) for piece in pieces), len(pieces), name)
        return
    # Started anew: a copy of a process in which torch has computed may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start, (annotator, tokenizer)) as pool:
        yield from _shown(pool.map(_annotate, pieces), len(pieces), name)


def _shown(pieces: Iterable[list[Annotated]], total: int, name: str) -> Iterator[Annotated]:
    console = Console(stderr=True)
    yield from chain.from_iterable(
        track(pieces, f"reading {name}", total, console=console, transient=True)
    )


_annotator: Annotator


def _start(pipeline: str | None, tokenizer: PlacingTokenizer) -> None:
    """Makes the annotator of a process."""
    global _annotator
    _annotator = Annotator(pipeline, tokenizer)


def _annotate(texts: list[str]) -> list[Annotated]:
    return list(_annotator(texts))
