"""From running text to token ids and back, at the level of words, characters or bytes."""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from srulight.text.vocabulary import PAD, UNKNOWN, UNKNOWN_INDEX, Vocabulary, get_tokenizer

Level = Literal["word", "char", "byte"]

END_OF_LINE = "<eos>"
"""The word that ends a line."""


class Codec(ABC):
    """Knows the tokens of a text.

    Attributes:
        size: Token ids there are, V.
        line_end: Id that ends a line; what a text begins after.
        has_padding: Whether id 0 stands for no token of a text.
    """

    size: int
    line_end: int
    has_padding: bool = True

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Gives the ids of a text's tokens."""

    @abstractmethod
    def decode(self, ids: Iterable[int], before: int) -> Iterator[str]:
        """Gives text piece by piece, as ids come.

        Args:
            ids: Ids of tokens.
            before: Id of the token before the first.
        """


class Bytes(Codec):
    """The bytes of UTF-8; an id is a byte's value."""

    size = 256
    line_end = ord("\n")
    has_padding = False

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Iterable[int], before: int) -> Iterator[str]:
        # A character can take several bytes; half of one is no text yet.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for i in ids:
            if piece := decoder.decode(bytes((i,))):
                yield piece
        if piece := decoder.decode(b"", final=True):
            yield piece


class Characters(Codec):
    """Unicode characters.

    Args:
        vocabulary: Those that are known.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.size = len(vocabulary)
        (self.line_end,) = vocabulary.encode("\n")

    def encode(self, text: str) -> list[int]:
        return self.vocabulary.encode(text) if text else []

    def decode(self, ids: Iterable[int], before: int) -> Iterator[str]:
        for i in ids:
            yield self.vocabulary.words[i] if i > UNKNOWN_INDEX else "\N{REPLACEMENT CHARACTER}"


class Words(Codec):
    """Words, with ``<eos>`` for the end of each line.

    Args:
        vocabulary: Words that are known.
        tokenizer: How a line is split into words; as for ``get_tokenizer``.
        lowercase: Whether words are turned into lower case.
    """

    def __init__(self, vocabulary: Vocabulary, tokenizer: str, lowercase: bool) -> None:
        self.vocabulary = vocabulary
        self.tokenizer = tokenizer
        self.lowercase = lowercase
        self.size = len(vocabulary)
        (self.line_end,) = vocabulary.encode([END_OF_LINE])

    def encode(self, text: str) -> list[int]:
        words = split_words(text, self.tokenizer, self.lowercase)
        return self.vocabulary.encode(words) if words else []

    def decode(self, ids: Iterable[int], before: int) -> Iterator[str]:
        for i in ids:
            space = "" if before == self.line_end else " "
            yield "\n" if i == self.line_end else space + self.vocabulary.words[i]
            before = i


def split_words(text: str, tokenizer: str, lowercase: bool) -> list[str]:
    """Splits text into words; each line end becomes ``<eos>``."""
    split = get_tokenizer(tokenizer)
    lines = (text.lower() if lowercase else text).split("\n")
    words = []
    for line in lines[:-1]:
        words += split(line)
        words.append(END_OF_LINE)
    return words + split(lines[-1])


def closed_vocabulary(words: Iterable[str], level: Level) -> Vocabulary:
    """Makes a vocabulary of given words, in their order; ``<pad>``, ``<unk>`` come first.

    Args:
        words: Words or characters; the end of a line is added if it is missing.
        level: Which of the two they are.
    """
    end = END_OF_LINE if level == "word" else "\n"
    known = dict.fromkeys((PAD, UNKNOWN, *words, end))
    return Vocabulary(list(known))


def get_codec(metadata: dict[str, Any]) -> Codec:
    """Makes the codec that a language model's data were read with.

    Args:
        metadata: ``level``, and ``words``, ``tokenizer`` and ``lowercase`` as far as they apply.
    """
    if metadata["level"] == "byte":
        return Bytes()
    vocabulary = Vocabulary(metadata["words"])
    if metadata["level"] == "char":
        return Characters(vocabulary)
    return Words(vocabulary, metadata["tokenizer"], metadata["lowercase"])
