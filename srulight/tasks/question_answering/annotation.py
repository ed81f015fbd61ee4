"""Splits texts into words with their positions, and annotates them with spaCy."""

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
    """The annotated words of a text.

    Attributes:
        words: Words, normalized to NFC and with plain apostrophes.
        starts: Start of each word in the text, in characters.
        ends: End of each word in the text, in characters.
        lemmas: Lemma of each word; empty without spaCy.
        tags: Part of speech of each word, and entity type of each word ("" for none); empty
            without spaCy.
    """

    words: list[str]
    starts: list[int]
    ends: list[int]
    lemmas: list[str]
    tags: tuple[list[str], ...]


class Annotator:
    """Splits texts into words, and tags the words if it has a spaCy pipeline.

    With ``split=english``, compounds are also split at hyphens and slashes, because an answer may
    be one part of a compound. spaCy gets these words, so models with and without tags see the same
    words.

    Args:
        tokenizer: Tokenizer that knows the positions of words: split must be ``english``,
            ``characters`` or ``space``.
        pipeline: Name or folder of a spaCy pipeline, such as ``en_core_web_sm``. Without one, there
            are no tags and no lemmas.

    Raises:
        InputError: If spaCy or the pipeline is not installed.
    """

    def __init__(self, tokenizer: Words, pipeline: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._spacy = None if pipeline is None else _load(pipeline)

    def __call__(self, texts: Iterable[str]) -> Iterator[Annotated]:
        """Yields the annotated words of each text, in order."""
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
    """Splits a compound, and keeps adjacent punctuation such as two hyphens in one piece."""
    if not any(map(str.isalnum, text[start:end])):
        return [(start, end)]
    return [match.span() for match in _SIGNS.finditer(text, start, end)]


def _load(pipeline: str) -> "Language":
    try:
        import spacy
    except ImportError as error:
        raise InputError(
            f"annotator {pipeline!r} needs spaCy; install it: pip install "
            '"srulight[annotation]", or remove --data.annotator'
        ) from error
    missing = InputError(
        f"annotator must be an installed spaCy pipeline, got {pipeline!r}; install it: python -m "
        f"spacy download {pipeline}, or remove --data.annotator"
    )
    # The name may come from an untrusted checkpoint, and spaCy imports any package by its name.
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
