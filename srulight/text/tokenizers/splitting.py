"""From text to words, by rules, and where in the text they stand."""

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
"""Ways to split text into words; those from ``basic_english`` on are torchtext's."""

# The conventions of the Penn Treebank, which most English corpora and word vectors follow. The
# first alternative that fits wins, so the special cases come before words and words before the
# rest. Text that is already split this way must come out unchanged: a clitic, an escape (\/) or a
# bracket's name (-lrb-) that stands alone is a token.
_ENGLISH = re.compile(
    r"""
      n't(?!\w) | '(?:s|re|ve|ll|d|m)(?!\w)           # clitics: is|n't, it|'s
    | -[lr]rb-                                        # a bracket, spelt out
    | \.{2,} | -{2,} | `` | '' | [?!]{2,} | (?:\\\*)+ # marks that stand together
    | (?:mr|mrs|ms|dr|st|jr|vs|etc|bros|inc|co|sept)\.   # abbreviations keep their dot
    | (?:[^\W\d_]\.){2,} | (?<!\S)[b-hj-z]\.          # and so do initials: e.t.
    | '\d\ds?(?!\w) | '(?:em|n'|n|til|cause)(?!\w)     # years and words cut short: '70s, 'em
    | \d+(?:[.,:]\d+)+(?![\w/\\-])                    # numbers: 2,500
    | can(?=not\b) | \w+?(?=n't(?!\w))                # can|not, is|n't
    | \w+(?:&\w+)*(?:(?:-(?!-)|\\?/|\.(?=\w)|'(?!(?:s|re|ve|ll|d|m)(?!\w))(?=\w))\w+)*
    | \\?/ | \S                                       # any other sign stands alone
    """,
    re.VERBOSE | re.IGNORECASE,
)


def _english(signs: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _ENGLISH.finditer(signs))


def _characters(signs: str) -> Iterator[tuple[int, int]]:
    return ((i, i + 1) for i, sign in enumerate(signs) if not sign.isspace())


# Those that know where words stand; they are given text with one sign for each character.
_PLACING: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "english": _english,
    "characters": _characters,
}


def word_spans(text: str, split: str) -> Iterator[tuple[int, int]]:
    """Finds the words of a text.

    Accents and other marks, signs that are not seen but shape what is, and the letters of a Korean
    syllable are never parted from what they belong to.

    Args:
        text: Any text.
        split: What words are: ``english``, ``characters`` (each one for itself), or ``space``.

    Yields:
        Where each word begins and ends, in characters. ``normalize(text[begin:end])`` is the word;
        at ``space`` it is that part as it stands.

    Raises:
        InputError: If another way to split is given.
    """
    if split == "space":
        yield from (match.span() for match in re.finditer(r"\S+", text))
        return
    if split not in _PLACING:
        raise InputError(
            f"split={split} does not tell where in the text words stand: use english, characters "
            "or space"
        )
    if text.isascii():
        yield from _PLACING[split](text)
        return
    starts = [match.start() for match in _marked().finditer(text)]
    ends = [*starts[1:], len(text)]
    signs = "".join([normalize(text[i:j])[0] for i, j in zip(starts, ends, strict=True)])
    for first, last in _PLACING[split](signs.replace("\u200b", " ")):
        yield starts[first], ends[last - 1]


def normalize(text: str) -> str:
    """Writes a text in one way: NFC, and the typographic apostrophe as the plain one."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", text).replace("\u2019", "'")


@cache
def _marked() -> re.Pattern[str]:
    """Finds a character with all that belongs to it; what follows white space stands alone."""
    # Beyond these planes there are none. A zero-width space parts words.
    codes = (*range(0x20000), *range(0xE0000, 0xE1000))
    marks = [chr(i) for i in codes if _belongs(chr(i)) and i != 0x200B]
    return re.compile(f"[\\s\u200b]|[^\\s\u200b][{re.escape(''.join(marks))}]*")


def _belongs(sign: str) -> bool:
    category = unicodedata.category(sign)
    # Vowels and last consonants of Korean syllables in parts, which are letters to Unicode.
    return category[0] == "M" or category == "Cf" or "\u1160" <= sign <= "\u11ff"


def splitter(split: str, language: str) -> Callable[[str], list[str]]:
    """Finds a function that splits text into words.

    Args:
        split: One of ``Splitting``.
        language: Whose rules Moses follows (ISO 639-1).

    Returns:
        The function; it keeps upper and lower case unless the way itself does not.

    Raises:
        InputError: If there is no such way, or the package it needs is missing.
    """
    if split in _PLACING:
        return partial(_split, split=split)
    if split == "space":
        return str.split
    if split == "moses":
        return partial(moses().MosesTokenizer(language).tokenize, escape=False)
    if split not in get_args(Splitting):
        known = ", ".join(get_args(Splitting))
        raise InputError(f"split must be one of {known}; got {split!r}")
    from torchtext.data.utils import get_tokenizer

    try:
        # torchtext prints its advice before it raises; ours is in the error.
        with contextlib.redirect_stdout(io.StringIO()):
            return get_tokenizer(split)
    except (ImportError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"split={split} needs something that is not installed ({reason}); install it or use "
            "split=english"
        ) from error


def moses() -> ModuleType:
    """Imports the rules of Moses (Koehn et al. 2007, ACL, demo session).

    Raises:
        InputError: If sacremoses is not installed.
    """
    try:
        return importlib.import_module("sacremoses")
    except ImportError as error:
        raise InputError('Moses needs sacremoses: pip install "srulight[translation]"') from error


def _split(text: str, split: str) -> list[str]:
    return [normalize(text[i:j]) for i, j in word_spans(text, split)]
