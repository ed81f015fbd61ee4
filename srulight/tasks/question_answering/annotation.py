"""Words of a text, where they stand in it, and how a tagger annotates them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from srulight.runtime.errors import InputError
from srulight.text.tokenizers import Words
from srulight.text.tokenizers.splitting import normalize

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

_SIGNS = re.compile(r"[-\u2010-\u2015/_]|[^-\u2010-\u2015/_]+")


class Annotated(NamedTuple):
    """The words of a text.

    Attributes:
        words: As they stand there, in NFC and with plain apostrophes.
        starts: Where each begins, in characters.
        ends: Where each ends, in characters.
        lemmas: The dictionary form of each; none without spaCy.
        tags: Part of speech of each word, and its entity type, "" for none; empty without spaCy.
    """

    words: list[str]
    starts: list[int]
    ends: list[int]
    lemmas: list[str]
    tags: tuple[list[str], ...]


class Annotator:
    """Splits text into words, and tags them if spaCy has a pipeline to do it.

    Compounds that ``split=english`` leaves whole are split at hyphens and slashes, because an
    answer may be one half of one. spaCy is given these words, so that a model with tags and one
    without have the same words.

    Args:
        tokenizer: Splits text; it must tell where words stand (``english``, ``characters`` or
            ``space``).
        pipeline: Name or folder of a spaCy pipeline, such as ``en_core_web_sm``; no tags and no
            lemmas if None.

    Raises:
        InputError: If spaCy or the pipeline is not installed.
    """

    def __init__(self, tokenizer: Words, pipeline: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._spacy = None if pipeline is None else _load(pipeline)

    def __call__(self, texts: Iterable[str]) -> Iterator[Annotated]:
        """Annotates each text, in order."""
        split = ((text, self._split(text)) for text in texts)
        if self._spacy is None:
            yield from (found for _, found in split)
            return
        spacy = self._spacy
        docs = ((_doc(spacy, text, found), found) for text, found in split)
        for doc, found in spacy.pipe(docs, as_tuples=True):
            tags = ([token.tag_ for token in doc], [token.ent_type_ for token in doc])
            yield found._replace(lemmas=[token.lemma_ for token in doc], tags=tags)

    def _split(self, text: str) -> Annotated:
        spans = self._tokenizer.spans(text)
        if self._tokenizer.split == "english":
            spans = [part for start, end in spans for part in _parts(text, start, end)]
        words = [normalize(text[start:end]) for start, end in spans]
        return Annotated(words, [start for start, _ in spans], [end for _, end in spans], [], ())


def _parts(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Splits a compound; signs that stand together, such as two hyphens, stay together."""
    if not any(map(str.isalnum, text[start:end])):
        return [(start, end)]
    return [match.span() for match in _SIGNS.finditer(text, start, end)]


def _load(pipeline: str) -> "Language":
    try:
        import spacy
    except ImportError as error:
        raise InputError(
            f'annotator {pipeline} needs spaCy: pip install "srulight[annotation]", or leave the '
            "annotator out"
        ) from error
    missing = InputError(
        f"spaCy has no pipeline {pipeline}: python -m spacy download {pipeline}, or leave the "
        "annotator out"
    )
    # The name may come from a checkpoint: spaCy would import whatever package has it.
    if not Path(pipeline).is_dir() and pipeline not in spacy.util.get_installed_models():
        raise missing
    try:
        return spacy.load(pipeline)
    except OSError as error:
        raise missing from error


def _doc(spacy: "Language", text: str, found: Annotated) -> "Doc":
    from spacy.tokens import Doc

    next_starts = [*found.starts[1:], len(text)]
    spaces = [end < start for end, start in zip(found.ends, next_starts, strict=True)]
    return Doc(spacy.vocab, words=found.words, spaces=spaces)
