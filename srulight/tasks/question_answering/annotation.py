"""Words of a text, where they stand in it, and what a tagger says of them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from srulight.runtime.errors import InputError
from srulight.text.vocabulary import PlacingTokenizer, plain, word_spans

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

TAGS = ("part of speech", "entity")
"""What an annotator says of each word, beside its lemma."""

_SIGNS = re.compile(r"[-\u2010-\u2015/_]|[^-\u2010-\u2015/_]+")


class Annotated(NamedTuple):
    """The words of a text.

    Attributes:
        words: As they stand there, in NFC and with plain apostrophes.
        starts: Where each begins, in characters.
        ends: Where each ends, in characters.
        lemmas: The dictionary's form of each; none without an annotator.
        tags: For each of ``TAGS`` the tag of each word, "" for none; none without an annotator.
    """

    words: list[str]
    starts: list[int]
    ends: list[int]
    lemmas: list[str]
    tags: tuple[list[str], ...]


class Annotator:
    """Splits text into words, and tags them if spaCy has a pipeline to do it.

    Compounds of the tokenizer ``english`` are split at hyphens and strokes, because an answer may
    be one half of one. spaCy gets these words, so that a model with tags and one without see the
    same.

    Args:
        pipeline: Name or folder of a spaCy pipeline, such as ``en_core_web_sm``; no tags and no
            lemmas if None.
        tokenizer: What words are: ``english``, or ``characters`` for scripts without spaces.

    Raises:
        InputError: If spaCy or the pipeline is not installed.
    """

    def __init__(
        self, pipeline: str | None = None, tokenizer: PlacingTokenizer = "english"
    ) -> None:
        self._tokenizer: PlacingTokenizer = tokenizer
        self._spacy = None if pipeline is None else _load(pipeline)

    def __call__(self, texts: Iterable[str]) -> Iterator[Annotated]:
        """Gives the words of each text, in order."""
        if self._spacy is None:
            for text in texts:
                yield Annotated(*_split(text, self._tokenizer), [], ())
            return
        # With the doc travels what is not in it: where the words stand.
        docs = (_doc(self._spacy, text, self._tokenizer) for text in texts)
        for doc, (words, starts, ends) in self._spacy.pipe(docs, as_tuples=True):
            tags = ([token.tag_ for token in doc], [token.ent_type_ for token in doc])
            yield Annotated(words, starts, ends, [token.lemma_ for token in doc], tags)


def _split(text: str, tokenizer: PlacingTokenizer) -> tuple[list[str], list[int], list[int]]:
    spans = list(word_spans(text, tokenizer))
    if tokenizer == "english":
        spans = [part for start, end in spans for part in _parts(text, start, end)]
    words = [plain(text[start:end]) for start, end in spans]
    return words, [start for start, _ in spans], [end for _, end in spans]


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
    # Of a checkpoint, maybe: spaCy would import whatever package has that name.
    if not Path(pipeline).is_dir() and pipeline not in spacy.util.get_installed_models():
        raise missing
    try:
        return spacy.load(pipeline)
    except OSError as error:
        raise missing from error


def _doc(spacy: "Language", text: str, tokenizer: PlacingTokenizer) -> tuple["Doc", Any]:
    from spacy.tokens import Doc

    words, starts, ends = split = _split(text, tokenizer)
    spaces = [end < start for end, start in zip(ends, [*starts[1:], len(text)], strict=True)]
    return Doc(spacy.vocab, words=words, spaces=spaces), split
