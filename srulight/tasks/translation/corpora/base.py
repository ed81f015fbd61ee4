"""What a parallel corpus is, and sentence pairs out of files in two languages."""

import hashlib
import html
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

from srulight.data.base import Corpus
from srulight.runtime.errors import InputError
from srulight.runtime.files import lines, opened

_VERSION = 1  # goes up when the same files give other pairs
_SEGMENT = re.compile(r"<seg\b[^>]*>(.*?)</seg>", re.IGNORECASE)
_SEGMENT_START = re.compile(r"<seg\b", re.IGNORECASE)

_Layout = Literal["lines", "segments", "talks"]


class Pair(NamedTuple):
    """A sentence and its translation.

    Attributes:
        source: The sentence; may be empty.
        target: What it is translated to; may be empty.
        where: What an error calls it: the file of the source and the line.
    """

    source: str
    target: str
    where: str


class Pairs(ABC):
    """Sentence pairs, maybe very many: read anew each time, and never all in memory."""

    @abstractmethod
    def __iter__(self) -> Iterator[Pair]:
        """Reads the pairs, always in the same order.

        Raises:
            InputError: If a file is not what it should be; maybe after the last pair only.
        """

    @property
    @abstractmethod
    def key(self) -> str:
        """SHA-256 of all that the pairs come from, in hexadecimal, which names caches.

        Reads everything.

        Raises:
            InputError: If a file cannot be read.
        """


class ParallelSplits(NamedTuple):
    """Everything that a parallel corpus holds.

    Attributes:
        train: Pairs to learn from.
        val: Pairs to choose a model by.
        test: Pairs to report; None where the corpus has none.
    """

    train: Pairs
    val: Pairs
    test: Pairs | None


class ParallelCorpus(Corpus[ParallelSplits]):
    """Knows where sentences and their translations are; the pairs themselves are read later.

    Attributes:
        languages: Of the sentences and of their translations, as in ISO 639-1: ``("en", "de")``.
    """

    languages: tuple[str, str]


class FilePairs(Pairs):
    r"""Pairs of files, where each sentence of one translates the sentence of the same number.

    The files are UTF-8, compressed if the name ends in ``.gz``. They have one sentence a line; a
    line ends with ``\n`` or ``\r\n`` and nothing else. In a name ending in ``.xml`` or ``.sgm``,
    the sentences are what is between ``<seg>`` and ``</seg>``, with ``&amp;`` and the like
    resolved. In a name that starts with ``train.tags.``, as IWSLT's training talks have it, lines
    from ``<`` to ``>`` are left out; they must stand between the same sentences in both files.
    White space becomes single spaces, and none at the ends.

    Args:
        root: Folder of the files.
        names: Names of source and target, inside ``root``; read one pair after the other.
    """

    def __init__(self, root: Path, names: list[tuple[str, str]]) -> None:
        self.root = root
        self.names = names

    def __iter__(self) -> Iterator[Pair]:
        """Reads the files side by side."""
        for source, target in self.names:
            yield from _pairs(self.root / source, self.root / target, source)

    @property
    def key(self) -> str:
        layouts = [[_layout(self.root / name) for name in pair] for pair in self.names]
        digest = hashlib.sha256(json.dumps([_VERSION, layouts]).encode())
        for pair in self.names:
            for name in pair:
                with opened(self.root / name) as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


class _Sentence(NamedTuple):
    line: int  # in its file, from 1
    text: str
    is_after_markup: bool  # lines were left out before it


def _pairs(source: Path, target: Path, name: str) -> Iterator[Pair]:
    left, right = _sentences(source), _sentences(target)
    for count, (first, second) in enumerate(zip_longest(left, right)):
        if first is None or second is None:
            longer = count + 1 + sum(1 for _ in (left if second is None else right))
            counts = (count, longer) if first is None else (longer, count)
            plain = _layout(source) == _layout(target) == "lines"
            unit = "line" if plain else "sentence"
            raise InputError(
                f"{source} has {counts[0]} {unit}s and {target} has {counts[1]}: {unit} N of one "
                f"must translate {unit} N of the other"
            )
        if first.is_after_markup != second.is_after_markup:
            has, lacks = f"{source}:{first.line}", f"{target}:{second.line}"
            if second.is_after_markup:
                has, lacks = lacks, has
            raise InputError(
                f"{has}: expected markup in both files or in neither, got some before this line "
                f"and none before {lacks}; a line may be missing further up"
            )
        yield Pair(first.text, second.text, f"{name}:{first.line}")


def _sentences(path: Path) -> Iterator[_Sentence]:
    layout = _layout(path)
    is_empty, is_after_markup = True, False
    for number, line in lines(path):
        line = line.strip()
        if layout == "talks" and line.startswith("<") and line.endswith(">"):
            is_after_markup = True
            continue
        texts = _segments(line, f"{path}:{number}") if layout == "segments" else [line]
        for text in texts:
            yield _Sentence(number, " ".join(text.split()), is_after_markup)
            is_empty, is_after_markup = False, False
    if is_empty:
        expected = "<seg>SENTENCE</seg>, one a line" if layout == "segments" else "one a line"
        raise InputError(f"{path} has no sentences; expected {expected}")


def _layout(path: Path) -> _Layout:
    if path.name.removesuffix(".gz").endswith((".xml", ".sgm")):
        return "segments"
    return "talks" if path.name.startswith("train.tags.") else "lines"


def _segments(line: str, place: str) -> list[str]:
    # These files need not be XML: SGML has no parser here, and only this much of it is used.
    texts = _SEGMENT.findall(line)
    if len(texts) != len(_SEGMENT_START.findall(line)):
        raise InputError(f"{place}: expected <seg> and its </seg> in one line, got {line[:60]!r}")
    return [html.unescape(text) for text in texts]
