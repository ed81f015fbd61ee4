"""Token ids of a corpus in cached files, which are mapped into memory instead of being read."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from srulight.runtime.cache import cached
from srulight.runtime.errors import InputError
from srulight.runtime.files import GZIP
from srulight.tasks.language_modeling.corpora.base import Span, Spans
from srulight.text.tokenizers import (
    PAD_UNKNOWN,
    UNKNOWN_ID,
    Bytes,
    Characters,
    Tokenizer,
    from_settings,
)

_VERSION = 3  # Version of the cached files; raise it when their content changes.
_ABOUT = "about.json"


def specials_of(kind: str) -> tuple[str, ...]:
    """Returns the special tokens of a vocabulary.

    ``Bytes`` has none: its ids are the values of the bytes, none of which is unknown.

    Args:
        kind: Name of the tokenizer's class.
    """
    return () if kind == Bytes.__name__ else PAD_UNKNOWN


def fit(tokenizer: Tokenizer, texts: Iterable[str] = ()) -> Tokenizer:
    """Returns a copy of a tokenizer with a vocabulary in which the end of a line is a token.

    Args:
        tokenizer: Tokenizer with its options.
        texts: Training texts; not read if an option determines the vocabulary.
    """
    return tokenizer.fit(texts, specials_of(type(tokenizer).__name__), lines=True)


def stored_tokenizer(settings: dict[str, Any]) -> Tokenizer:
    """Restores the tokenizer of a checkpoint.

    Args:
        settings: Settings of the tokenizer, which are not trusted.

    Raises:
        InputError: If they are not the settings of a language model's tokenizer.
    """
    tokenizer = from_settings(settings, specials_of(str(settings.get("kind"))))
    if not tokenizer.lines:
        raise InputError(
            "tokenizer.lines must be true for a language model, got false; use the data and the "
            "checkpoint of a language model"
        )
    return tokenizer


class TokenIds(NamedTuple):
    """The token ids of a corpus.

    Attributes:
        splits: Ids of "train", "val" and, if the corpus has it, "test". Each is mapped from a
            file, (N,), in the smallest integer type that can hold the ids.
        tokenizer: Tokenizer with the vocabulary of the ids.
        unknown: Number of out-of-vocabulary tokens in each split.
    """

    splits: dict[str, Tensor]
    tokenizer: Tokenizer
    unknown: dict[str, int]


def token_ids(spans: Spans, tokenizer: Tokenizer) -> TokenIds:
    """Returns the token ids of a corpus, and builds their files if the cache lacks them.

    Args:
        spans: Parts of files that contain the text.
        tokenizer: Tokenizer; if it has no vocabulary yet, it learns one from the training text.

    Raises:
        InputError: If the text is not valid UTF-8, or the files cannot be written.
    """
    parts = {name: span for name, span in spans._asdict().items() if span is not None}
    if isinstance(tokenizer, Bytes):
        # The bytes of the text are the ids.
        bytes_of = {name: _map(s.path, s.stop, torch.uint8)[s.start :] for name, s in parts.items()}
        return TokenIds(bytes_of, fit(tokenizer), dict.fromkeys(parts, 0))
    if tokenizer.is_closed:
        tokenizer = fit(tokenizer)
    folder = cached("tokens", _key(parts, tokenizer), partial(_build, parts, tokenizer))
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    tokenizer = tokenizer.with_vocabulary(about["vocabulary"], PAD_UNKNOWN, lines=True)
    dtype = _dtype(len(tokenizer.tokens))
    splits = {
        name: _map(folder / f"{name}.bin", size, dtype) for name, size in about["sizes"].items()
    }
    return TokenIds(splits, tokenizer, about["unknown"])


def _map(path: Path, size: int, dtype: torch.dtype) -> Tensor:
    return torch.from_file(str(path), shared=False, size=size, dtype=dtype)


def _dtype(vocabulary_size: int) -> torch.dtype:
    if vocabulary_size <= 1 << 8:
        return torch.uint8
    return torch.uint16 if vocabulary_size <= 1 << 16 else torch.int32


def _key(parts: dict[str, Span], tokenizer: Tokenizer) -> str:
    """Returns a name for the cached files that depends on everything that determines them."""
    digest = hashlib.sha256(json.dumps([_VERSION, tokenizer.recipe, list(parts)]).encode())
    for span in parts.values():
        content = hashlib.sha256()
        for block in span.blocks():
            content.update(block)
        digest.update(content.digest())
    return digest.hexdigest()[:24]


def _build(parts: dict[str, Span], tokenizer: Tokenizer, folder: Path) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        ends = not isinstance(tokenizer, Characters)
        if not tokenizer.tokens:
            texts = _texts(parts["train"], ends, "counting tokens", progress)
            tokenizer = fit(tokenizer, texts)
        dtype = _dtype(len(tokenizer.tokens))
        sizes, unknown = dict.fromkeys(parts, 0), dict.fromkeys(parts, 0)
        for name, span in parts.items():
            with (folder / f"{name}.bin").open("wb") as file:
                for text in _texts(span, ends, f"encoding {name}", progress):
                    ids = torch.tensor(tokenizer.encode(text), dtype=torch.int32)
                    file.write(ids.to(dtype).numpy().tobytes())
                    sizes[name] += len(ids)
                    unknown[name] += int((ids == UNKNOWN_ID).sum())
    about = {"vocabulary": tokenizer.vocabulary, "sizes": sizes, "unknown": unknown}
    (folder / _ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def _texts(span: Span, ends: bool, description: str, progress: Progress) -> Iterator[str]:
    """Decodes a span piece by piece; with ``ends``, adds a missing line end at its end."""
    text = "\n"
    task = progress.add_task(description, total=span.stop - span.start)
    place = span.start
    for block in span.blocks():
        if place == 0 and block.startswith(GZIP):
            raise InputError(f"{span.path}: expected plain text, got a gzip file; decompress it")
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError as error:
            with span.path.open("rb") as file:
                line = file.read(place + error.start).count(b"\n") + 1
            raise InputError(
                f"{span.path}:{line}: expected UTF-8, got the byte {block[error.start]:#04x}; save "
                "the file as UTF-8, or set --data.tokenizer=Bytes"
            ) from error
        if place == 0:
            text = text.removeprefix("\ufeff")  # a byte order mark
        yield text
        place += len(block)
        progress.update(task, completed=place - span.start)
    if ends and not text.endswith("\n"):
        yield "\n"
