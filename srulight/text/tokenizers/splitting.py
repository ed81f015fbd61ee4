"""Rules that split text into words and locate the words in the text."""

import contextlib
import importlib
import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import ModuleType
from typing import Literal, get_args

from srulight.runtime.errors import InputError

Splitting = Literal[
    "english", "characters", "space", "moses", "basic_english", "spacy", "toktok", "revtok",
    "subword",
]  # fmt: skip
"""Ways to split text into words; ``basic_english`` and those after it are torchtext's."""

# The conventions of the Penn Treebank, which most English corpora and word vectors follow. The
# first alternative that matches wins, so special cases come before words, and words before the
# rest. Text that is already split in this way must not change: a clitic, an escape (\/) or the name
# of a bracket (-lrb-) that stands alone is a token.
_ENGLISH = re.compile(
    r"""
      n't(?!\w) | '(?:s|re|ve|ll|d|m)(?!\w)           # clitics: is|n't, it|'s
    | -[lr]rb-                                        # a bracket, spelled out
    | \.{2,} | -{2,} | `` | '' | [?!]{2,} | (?:\\\*)+ # repeated punctuation
    | (?:mr|mrs|ms|dr|st|jr|vs|etc|bros|inc|co|sept)\.   # abbreviations keep their period
    | (?:[^\W\d_]\.){2,} | (?<!\S)[b-hj-z]\.          # initials, too: e.t.
    | '\d\ds?(?!\w) | '(?:em|n'|n|til|cause)(?!\w)     # elisions: '70s, 'em
    | \d+(?:[.,:]\d+)+(?![\w/\\-])                    # numbers: 2,500
    | can(?=not\b) | \w+?(?=n't(?!\w))                # can|not, is|n't
    | \w+(?:&\w+)*(?:(?:-(?!-)|\\?/|\.(?=\w)|'(?!(?:s|re|ve|ll|d|m)(?!\w))(?=\w))\w+)*
    | \\?/ | \S                                       # any other character
    """,
    re.VERBOSE | re.IGNORECASE,
)


def _english(signs: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _ENGLISH.finditer(signs))


def _characters(signs: str) -> Iterator[tuple[int, int]]:
    return ((i, i + 1) for i, sign in enumerate(signs) if not sign.isspace())


# Ways that can locate words; they receive text with one code point per character.
_PLACING: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "english": _english,
    "characters": _characters,
}


def word_spans(text: str, split: str) -> Iterator[tuple[int, int]]:
    """Locates the words of a text.

    A combining mark, a format character or a conjoining jamo of a Korean syllable is never
    separated from the character before it.

    Args:
        text: Any text.
        split: How to split: ``english``, ``characters`` (every character is a word) or ``space``.

    Yields:
        Start and end of each word, in characters. The word is ``normalize(text[start:end])``, or
        ``text[start:end]`` for ``space``.

    Raises:
        InputError: If the way to split cannot locate words.
    """
    if split == "space":
        yield from (match.span() for match in re.finditer(r"\S+", text))
        return
    if split not in _PLACING:
        raise InputError(
            f"split must be english, characters or space to locate words in the text, got {split!r}"
        )
    if text.isascii():
        yield from _PLACING[split](text)
        return
    starts = [match.start() for match in _marked().finditer(text)]
    ends = [*starts[1:], len(text)]
    signs = "".join([normalize(text[i:j])[0] for i, j in zip(starts, ends, strict=True)])
    for first, last in _PLACING[split](signs.replace("\u200b", " ")):
        yield starts[first], ends[last - 1]


def word_pattern(split: str) -> str | None:
    """Returns a regular expression that finds the words of an ASCII text, or None without one.

    Args:
        split: One of ``Splitting``. The expression needs the flags VERBOSE and IGNORECASE.
    """
    return {"english": _ENGLISH.pattern, "characters": r"\S", "space": r"\S+"}.get(split)


def normalize(text: str) -> str:
    """Normalizes a text to NFC, with plain instead of typographic apostrophes."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", text).replace("\u2019", "'")


@cache
def _marked() -> re.Pattern[str]:
    """Matches a character with its combining marks; after white space, a mark stands alone."""
    # Other planes have no marks. A zero-width space separates words.
    codes = (*range(0x20000), *range(0xE0000, 0xE1000))
    marks = [chr(i) for i in codes if _belongs(chr(i)) and i != 0x200B]
    return re.compile(f"[\\s\u200b]|[^\\s\u200b][{re.escape(''.join(marks))}]*")


def _belongs(sign: str) -> bool:
    category = unicodedata.category(sign)
    # Unicode categorizes the conjoining vowels and final consonants of Korean as letters.
    return category[0] == "M" or category == "Cf" or "\u1160" <= sign <= "\u11ff"


def splitter(split: str, language: str) -> Callable[[str], list[str]]:
    """Returns a function that splits text into words.

    Args:
        split: One of ``Splitting``.
        language: Language of the rules of Moses (ISO 639-1).

    Returns:
        The function. It preserves the letter case, except for some tokenizers of torchtext.

    Raises:
        InputError: If ``split`` is unknown, or a package that it needs is not installed.
    """
    if split in _PLACING:
        return partial(_split, split=split)
    if split == "space":
        return str.split
    if split == "moses":
        return partial(moses().MosesTokenizer(language).tokenize, escape=False)
    if split not in get_args(Splitting):
        known = ", ".join(get_args(Splitting))
        raise InputError(f"split must be one of {known}, got {split!r}")
    from torchtext.data.utils import get_tokenizer

    try:
        # torchtext prints advice before it raises; the error below has better advice.
        with contextlib.redirect_stdout(io.StringIO()):
            return get_tokenizer(split)
    except (ImportError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"split={split} needs a package that is not installed ({reason}); install it, or set "
            "split=english"
        ) from error


def moses() -> ModuleType:
    """Imports the implementation of the Moses rules (Koehn et al. 2007, ACL, demo session).

    Raises:
        InputError: If sacremoses is not installed.
    """
    try:
        return importlib.import_module("sacremoses")
    except ImportError as error:
        raise InputError(
            "split=moses and detokenize=true need sacremoses, which is not installed; run pip "
            'install "srulight[translation]"'
        ) from error


def _split(text: str, split: str) -> list[str]:
    return [normalize(text[i:j]) for i, j in word_spans(text, split)]
