"""From raw text to token indices."""

import contextlib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Literal, cast

from srulight.runtime.errors import InputError

PAD = "<pad>"
UNKNOWN = "<unk>"
UNKNOWN_INDEX = 1

# torchtext prepares these; all but the first need a package of their own.
_TORCHTEXT = ("basic_english", "moses", "spacy", "toktok", "revtok", "subword")

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


def _english(plain: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _ENGLISH.finditer(plain))


def _characters(plain: str) -> Iterator[tuple[int, int]]:
    return ((i, i + 1) for i, sign in enumerate(plain) if not sign.isspace())


# Those that know where words stand; they are given text with one sign for each character.
_PLACING: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "english": _english,
    "characters": _characters,
}

PlacingTokenizer = Literal["english", "characters"]
"""A tokenizer that says where in the text each word stands."""


def word_spans(text: str, tokenizer: PlacingTokenizer) -> Iterator[tuple[int, int]]:
    """Finds the words of a text.

    Accents and other marks, signs that are not seen but shape what is, and the letters of a Korean
    syllable are never parted from what they belong to.

    Args:
        text: Any text.
        tokenizer: What words are: ``english``, or ``characters`` (each one for itself).

    Yields:
        Where each word begins and ends, in characters; ``plain(text[begin:end])`` is the word.
    """
    if text.isascii():
        yield from _PLACING[tokenizer](text)
        return
    starts = [match.start() for match in _marked().finditer(text)]
    ends = [*starts[1:], len(text)]
    signs = "".join([plain(text[i:j])[0] for i, j in zip(starts, ends, strict=True)])
    for first, last in _PLACING[tokenizer](signs.replace("\u200b", " ")):
        yield starts[first], ends[last - 1]


def plain(text: str) -> str:
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


def get_tokenizer(name: str) -> Callable[[str], list[str]]:
    """Finds a function that splits text into words.

    Args:
        name: ``english`` (punctuation and clitics apart, as in the Penn Treebank),
            ``characters`` (each one a word, for scripts without spaces), ``space`` (at white
            space), or a tokenizer of torchtext: ``basic_english``, ``moses``, ``spacy``,
            ``toktok``, ``revtok``, ``subword``.

    Returns:
        The function; it keeps upper and lower case unless the tokenizer itself does not.

    Raises:
        InputError: If there is no such tokenizer, or the package it needs is missing.
    """
    if name in _PLACING:
        return partial(_split, tokenizer=cast("PlacingTokenizer", name))
    if name == "space":
        return str.split
    if name not in _TORCHTEXT:
        known = ", ".join((*_PLACING, "space", *_TORCHTEXT))
        raise InputError(f"tokenizer must be one of {known}; got {name!r}")
    from torchtext.data.utils import get_tokenizer as torchtext_tokenizer

    try:
        # torchtext prints its advice before it raises; ours is in the error.
        with contextlib.redirect_stdout(io.StringIO()):
            return torchtext_tokenizer(name)
    except (ImportError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"tokenizer {name!r} needs something that is not installed ({reason}); "
            "install it or use tokenizer 'english'"
        ) from error


def _split(text: str, tokenizer: PlacingTokenizer) -> list[str]:
    return [plain(text[i:j]) for i, j in word_spans(text, tokenizer)]


class Vocabulary:
    """The words a model knows, each with its index.

    Args:
        words: Every word once, in the order of the indices; the first two are ``<pad>``, which
            fills short sentences, and ``<unk>``, which stands for any word not in the list.

    Raises:
        InputError: If the list does not begin with the two.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        if self.words[:2] != [PAD, UNKNOWN]:
            raise InputError(f"words must begin with {PAD}, {UNKNOWN}, got {self.words[:2]}")
        # A text that spells out "<pad>" must not make padding in the middle of a sentence.
        self._indices = {word: i for i, word in enumerate(self.words) if i > 1}

    @classmethod
    def from_counts(
        cls, counts: Counter[str], min_count: int = 1, max_size: int | None = None
    ) -> "Vocabulary":
        """Keeps the frequent words, the most frequent first and equals in alphabetical order.

        Args:
            counts: How often each word occurs.
            min_count: Occurrences a word needs to be kept.
            max_size: Words kept at most, ``<pad>`` and ``<unk>`` not counted; no limit if None.
        """
        from torchtext.vocab import Vocab

        vocab = Vocab(counts, max_size=max_size, min_freq=min_count, specials=[PAD, UNKNOWN])
        return cls(vocab.itos)

    def __len__(self) -> int:
        """Counts the words, ``<pad>`` and ``<unk>`` among them."""
        return len(self.words)

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """Looks words up.

        Args:
            tokens: Words of one sentence.

        Returns:
            Their indices, 1 for an unknown word. A sentence without words is one unknown word,
            because encoders need at least one step.
        """
        return [self._indices.get(token, UNKNOWN_INDEX) for token in tokens] or [UNKNOWN_INDEX]
