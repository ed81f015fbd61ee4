"""Texts as token ids in files: built once, then mapped into memory and never read as a whole."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from srulight.runtime.cache import cached
from srulight.runtime.errors import InputError
from srulight.runtime.files import GZIP
from srulight.tasks.language_modelling.corpora.text_files import Span, Spans
from srulight.text.tokens import END_OF_LINE, Level, get_codec, split_words
from srulight.text.vocabulary import UNKNOWN_INDEX, Vocabulary

_VERSION = 2  # Of the files below; raised when what they hold changes.
_ABOUT = "about.json"


class Recipe(NamedTuple):
    """How text becomes tokens.

    Attributes:
        level: What a token is.
        tokenizer: How lines are split into words.
        lowercase: Whether words are turned into lower case.
        min_count: Times that a token must occur in training to be in the vocabulary.
        max_size: Most tokens that the vocabulary takes; no limit if None.
        words: The vocabulary, if it is not to be made from the training text.
    """

    level: Level
    tokenizer: str
    lowercase: bool
    min_count: int
    max_size: int | None
    words: list[str] | None


class TokenIds(NamedTuple):
    """A corpus as token ids.

    Attributes:
        splits: Ids of "train", "val" and, where there is one, "test"; each (N,), mapped from a
            file in the smallest type that holds them.
        words: The vocabulary; empty at the level of bytes.
        unknown: How many ids of each split stand for tokens outside the vocabulary.
    """

    splits: dict[str, Tensor]
    words: list[str]
    unknown: dict[str, int]


def token_ids(spans: Spans, recipe: Recipe) -> TokenIds:
    """Gives a corpus as token ids; builds their files first, if they are not in the cache.

    Args:
        spans: Where the text lies.
        recipe: How it becomes tokens.

    Raises:
        InputError: If the text is not UTF-8, or the files cannot be written.
    """
    parts = {name: span for name, span in spans._asdict().items() if span is not None}
    if recipe.level == "byte":
        # A text is its own ids.
        bytes_of = {name: _map(s.path, s.stop, torch.uint8)[s.start :] for name, s in parts.items()}
        return TokenIds(bytes_of, [], dict.fromkeys(parts, 0))
    folder = cached("tokens", _key(parts, recipe), partial(_build, parts, recipe))
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    dtype = _dtype(len(about["words"]))
    splits = {
        name: _map(folder / f"{name}.bin", size, dtype) for name, size in about["sizes"].items()
    }
    return TokenIds(splits, about["words"], about["unknown"])


def _map(path: Path, size: int, dtype: torch.dtype) -> Tensor:
    return torch.from_file(str(path), shared=False, size=size, dtype=dtype)


def _dtype(vocabulary_size: int) -> torch.dtype:
    if vocabulary_size <= 1 << 8:
        return torch.uint8
    return torch.uint16 if vocabulary_size <= 1 << 16 else torch.int32


def _key(parts: dict[str, Span], recipe: Recipe) -> str:
    """Names a build by all that goes into it."""
    digest = hashlib.sha256(json.dumps([_VERSION, recipe, list(parts)]).encode())
    for span in parts.values():
        content = hashlib.sha256()
        for block in span.blocks():
            content.update(block)
        digest.update(content.digest())
    return digest.hexdigest()[:24]


def _build(parts: dict[str, Span], recipe: Recipe, folder: Path) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        words = recipe.words
        if words is None:
            texts = _texts(parts["train"], recipe.level, "counting tokens", progress)
            words = _count(texts, recipe).words
        codec = get_codec({**recipe._asdict(), "words": words})
        dtype = _dtype(len(words))
        sizes, unknown = dict.fromkeys(parts, 0), dict.fromkeys(parts, 0)
        for name, span in parts.items():
            with (folder / f"{name}.bin").open("wb") as file:
                for text in _texts(span, recipe.level, f"encoding {name}", progress):
                    ids = torch.tensor(codec.encode(text), dtype=torch.int32)
                    file.write(ids.to(dtype).numpy().tobytes())
                    sizes[name] += len(ids)
                    unknown[name] += int((ids == UNKNOWN_INDEX).sum())
    about = {"words": words, "sizes": sizes, "unknown": unknown}
    (folder / _ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def _count(texts: Iterator[str], recipe: Recipe) -> Vocabulary:
    counts: Counter[str] = Counter()
    for text in texts:
        by_word = recipe.level == "word"
        counts.update(split_words(text, recipe.tokenizer, recipe.lowercase) if by_word else text)
    if not counts.keys() - {END_OF_LINE}:
        raise InputError("the training text has no words")
    return Vocabulary.from_counts(counts, recipe.min_count, recipe.max_size)


def _texts(span: Span, level: Level, description: str, progress: Progress) -> Iterator[str]:
    """Decodes a span piece by piece; at the level of words its last line ends, too."""
    text = "\n"
    task = progress.add_task(description, total=span.stop - span.start)
    place = span.start
    for block in span.blocks():
        if place == 0 and block.startswith(GZIP):
            raise InputError(f"{span.path} is compressed by gzip: unpack it")
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError as error:
            with span.path.open("rb") as file:
                line = file.read(place + error.start).count(b"\n") + 1
            raise InputError(
                f"{span.path}:{line}: byte {block[error.start]:#04x} is not UTF-8; save the file "
                "as UTF-8, or read it with --data.level=byte"
            ) from error
        if place == 0:
            text = text.removeprefix("\ufeff")  # a byte order mark
        yield text
        place += len(block)
        progress.update(task, completed=place - span.start)
    if level == "word" and not text.endswith("\n"):
        yield "\n"
