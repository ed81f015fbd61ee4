"""A parallel corpus in files of text, as Multi30k, IWSLT and WMT have them."""

import hashlib
import html
import json
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

from srulight.runtime.errors import InputError
from srulight.runtime.files import lines, opened
from srulight.tasks.translation.corpora.base import Pair, Pairs, ParallelCorpus, ParallelSplits

_VERSION = 1  # goes up when the same files give other pairs
_SEGMENT = re.compile(r"<seg\b[^>]*>(.*?)</seg>", re.IGNORECASE)
_SEGMENT_START = re.compile(r"<seg\b", re.IGNORECASE)

_Layout = Literal["lines", "segments", "talks"]


class ParallelText(ParallelCorpus):
    r"""Sentences in one file and their translations in another, UTF-8.

    A stem ``train`` and a language ``en`` name the first of these files that is there:
    ``train.en``, ``train.en.gz`` (one sentence a line), ``train.en.xml`` (IWSLT's development and
    test sets), and ``train-src.en.sgm`` or ``train-src.en.sgm.gz`` (WMT's test sets), with ``-ref``
    for the target. Of the last three, the sentences are what is between ``<seg>`` and ``</seg>``.
    A stem like ``train.tags.de-en`` (IWSLT's training talks) has lines of markup, which are left
    out. A sentence may be empty. Lines end with ``\n`` or ``\r\n``, and white space becomes single
    spaces.

    Args:
        source: Language to translate from, as it is in the names of the files.
        target: Language to translate to.
        train: Stems of the training files, inside ``root``, read one after the other; ``train``
            alone if None.
        val: Stem of the validation files.
        test: Stem of the test files; if None, there is nothing to test on.

    Raises:
        InputError: If the languages are the same, or ``train`` is an empty list.
    """

    def __init__(
        self,
        source: str = "en",
        target: str = "de",
        train: list[str] | None = None,
        val: str = "val",
        test: str | None = None,
    ) -> None:
        if source == target:
            raise InputError(f"source and target must be two languages, got {source!r} twice")
        if train is not None and not train:
            raise InputError("train must name the stem of a file or more, got an empty list")
        self.languages = (source, target)
        self.train = ["train"] if train is None else train
        self.val = val
        self.test = test

    def fetch(self, root: Path) -> None:
        try:
            self.read(root)
        except InputError as error:
            raise InputError(f"parallel text cannot be downloaded from here; {error}") from error

    def read(self, root: Path) -> ParallelSplits:
        train, val = self._pairs(root, self.train), self._pairs(root, [self.val])
        test = None if self.test is None else self._pairs(root, [self.test])
        return ParallelSplits(train, val, test)

    def _pairs(self, root: Path, stems: list[str]) -> Pairs:
        sides = tuple(zip(self.languages, ("src", "ref"), strict=True))
        names = [tuple(_find(root, stem, *side) for side in sides) for stem in stems]
        return FilePairs(root, [(source, target) for source, target in names])


def _find(root: Path, stem: str, language: str, side: str) -> str:
    plain, sgml = f"{stem}.{language}", f"{stem}-{side}.{language}.sgm"
    names = [plain, f"{plain}.gz", f"{plain}.xml", sgml, f"{sgml}.gz"]
    for name in names:
        if (root / name).is_file():
            return name
    raise InputError(
        f"none of {', '.join(names)} is in {root.absolute()}; put one there, or set --data.root "
        "to the folder that has it"
    )


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
