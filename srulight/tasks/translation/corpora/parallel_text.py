"""A parallel corpus in text files, in the formats of Multi30k, IWSLT and WMT."""

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

_VERSION = 1  # increase it when the same files yield different pairs
_SEGMENT = re.compile(r"<seg\b[^>]*>(.*?)</seg>", re.IGNORECASE)
_SEGMENT_START = re.compile(r"<seg\b", re.IGNORECASE)

_Layout = Literal["lines", "segments", "talks"]


class ParallelText(ParallelCorpus):
    r"""Reads sentences from one UTF-8 text file and their translations from another.

    The stem ``train`` and the language ``en`` stand for the first of these files that exists:
    ``train.en`` or ``train.en.gz`` (one sentence per line), ``train.en.xml`` (development and test
    sets of IWSLT), ``train-src.en.sgm`` or ``train-src.en.sgm.gz`` (test sets of WMT, with ``-ref``
    for the target). In the last three, each ``<seg>`` element is a sentence. In files whose stem
    starts with ``train.tags.`` (training talks of IWSLT), lines of markup are skipped. A sentence
    may be empty. Lines end with ``\n`` or ``\r\n``. White space is collapsed to single spaces.

    Args:
        source: Source language, as in the file names.
        target: Target language, as in the file names.
        train: Stems of the training files inside ``root``, read one after the other. The default is
            ``[train]``.
        val: Stem of the validation files.
        test: Stem of the test files. None means that there is no test set.

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
            raise InputError(f"source and target must be different languages, got {source!r} twice")
        if train is not None and not train:
            raise InputError("train must be a list with at least one stem, got []")
        self.languages = (source, target)
        self.train = ["train"] if train is None else train
        self.val = val
        self.test = test

    def fetch(self, root: Path) -> None:
        try:
            self.read(root)
        except InputError as error:
            raise InputError(f"ParallelText cannot download its files; {error}") from error

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
        f"{root.absolute()}: expected one of {', '.join(names)}, got none; add the file, or set "
        "--data.root to its folder"
    )


class FilePairs(Pairs):
    r"""Reads pairs of files in which sentence N of one file translates sentence N of the other.

    The files are UTF-8 text, compressed if the name ends in ``.gz``, with one sentence per line.
    Only ``\n`` and ``\r\n`` end a line. In files named ``.xml`` or ``.sgm``, each ``<seg>`` element
    is a sentence, and entities such as ``&amp;`` are resolved. In files whose name starts with
    ``train.tags.``, lines that start with ``<`` and end with ``>`` are skipped; they must occur
    between the same sentences in both files. White space is stripped and collapsed to single
    spaces.

    Args:
        root: Folder with the files.
        names: Names of the source and target files inside ``root``, read pair by pair.
    """

    def __init__(self, root: Path, names: list[tuple[str, str]]) -> None:
        self.root = root
        self.names = names

    def __iter__(self) -> Iterator[Pair]:
        """Reads the source and target files in parallel."""
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
    line: int  # line number in its file, from 1
    text: str
    is_after_markup: bool  # lines of markup precede it


def _pairs(source: Path, target: Path, name: str) -> Iterator[Pair]:
    left, right = _sentences(source), _sentences(target)
    for count, (first, second) in enumerate(zip_longest(left, right)):
        if first is None or second is None:
            longer = count + 1 + sum(1 for _ in (left if second is None else right))
            counts = (count, longer) if first is None else (longer, count)
            plain = _layout(source) == _layout(target) == "lines"
            unit = "line" if plain else "sentence"
            raise InputError(
                f"{source}: expected {counts[1]} {unit}s, as in {target}, got {counts[0]}; fix the "
                f"files so that {unit} N of one translates {unit} N of the other"
            )
        if first.is_after_markup != second.is_after_markup:
            has, lacks = f"{source}:{first.line}", f"{target}:{second.line}"
            if second.is_after_markup:
                has, lacks = lacks, has
            raise InputError(
                f"{has}: expected markup before this line in both files or in neither, got none "
                f"before {lacks}; check whether a line above is missing"
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
        expected = "<seg>SENTENCE</seg>" if layout == "segments" else "one sentence per line"
        raise InputError(f"{path}: expected {expected}, got no sentences; replace the file")


def _layout(path: Path) -> _Layout:
    if path.name.removesuffix(".gz").endswith((".xml", ".sgm")):
        return "segments"
    return "talks" if path.name.startswith("train.tags.") else "lines"


def _segments(line: str, place: str) -> list[str]:
    # WMT's SGML need not be valid XML, and Python has no SGML parser; these elements suffice.
    texts = _SEGMENT.findall(line)
    if len(texts) != len(_SEGMENT_START.findall(line)):
        raise InputError(f"{place}: expected <seg> and </seg> on the same line, got {line[:60]!r}")
    return [html.unescape(text) for text in texts]
