"""Lines of one language as token ids, and back: pieces of words, or words."""

import base64
import importlib
import io
import random
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from srulight.runtime.errors import InputError
from srulight.runtime.files import LARGEST_TEXT, opened
from srulight.text.vocabulary import PAD, UNKNOWN

Splitting = Literal["space", "moses"]

PADDING, UNKNOWN_ID, BEGIN, END = range(4)
"""Ids of the first four tokens of every tokenizer."""

_SPECIALS = (PAD, UNKNOWN, "<s>", "</s>")  # their names, in that order
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # what SentencePiece writes for one
_MOST_LINES = 1_000_000  # to learn pieces from, so that memory and time do not grow
# What SentencePiece says of a vocabulary that the text is too short or too varied for.
_TOO_HIGH = re.compile(r"Vocabulary size too high .* <= (\d+)")
_TOO_LOW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


class Tokenizer(ABC):
    """Turns lines of one language into token ids, and back.

    Attributes:
        tokens: Names of the tokens, by id; the first four are padding, unknown, begin and end.
        lowercase: Whether lines are turned into lower case.
    """

    tokens: list[str]
    lowercase: bool

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Gives the ids of a line's tokens, without begin and end; 1 for what is unknown."""

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """Gives the names of a line's tokens; what is unknown stands as it does in the line."""

    @abstractmethod
    def join(self, tokens: Sequence[str]) -> str:
        """Makes a line, as people write it.

        Args:
            tokens: Names of tokens; others, as ``split`` gives them, are written as they are.
        """

    @abstractmethod
    def plain(self, text: str) -> str:
        """Writes a line as ``join`` would, its case and characters as they are: to compare with."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Plain data that ``make_tokenizer`` makes the same from."""

    def decode(self, ids: Iterable[int]) -> str:
        """Makes a line of token ids; padding, begin and end are left out."""
        return self.join([self.tokens[i] for i in ids if i not in (PADDING, BEGIN, END)])


class Subwords(Tokenizer):
    """Pieces of words, as SentencePiece finds them (Kudo and Richardson 2018, arXiv 1808.06226).

    Its rules make the characters of text uniform first, by NFKC: a ligature becomes two letters.

    Args:
        model: Its model file, in base64. Tokens 0 to 3 are padding, unknown, begin and end.
        lowercase: Whether lines are turned into lower case.
    """

    def __init__(self, model: str, lowercase: bool) -> None:
        from sentencepiece import SentencePieceProcessor

        self._model = model
        self._processor = SentencePieceProcessor(model_proto=base64.b64decode(model))
        self.tokens = [self._processor.id_to_piece(i) for i in range(len(self._processor))]
        self.lowercase = lowercase

    @classmethod
    def train(
        cls, lines: Iterable[str], size: int, model: Literal["unigram", "bpe"], lowercase: bool
    ) -> "Subwords":
        """Learns the pieces, from a million lines drawn from all if there are more.

        Args:
            lines: Text.
            size: Tokens to make, the first four among them.
            model: How they are found: the likeliest ("unigram"; Kudo 2018, arXiv 1804.10959), or by
                joining frequent pairs ("bpe"; Sennrich et al. 2016, arXiv 1508.07909).
            lowercase: Whether lines are turned into lower case.

        Raises:
            InputError: If the text has not as many, or more characters than that, or is empty.
        """
        from sentencepiece import SentencePieceTrainer

        if size <= len(_SPECIALS):
            raise InputError(f"a vocabulary needs at least 5 subwords, got a size of {size}")
        # Read before, since SentencePiece would make its own error of one in a file.
        texts = [_prepared(line, lowercase) for line in _sample(lines, _MOST_LINES)]
        trained = io.BytesIO()
        try:
            SentencePieceTrainer.train(
                sentence_iterator=iter(texts), model_writer=trained, vocab_size=size,
                model_type=model, character_coverage=1.0, minloglevel=2,
                pad_id=PADDING, unk_id=UNKNOWN_ID, bos_id=BEGIN, eos_id=END, unk_surface=UNKNOWN,
                # One thread: otherwise the pieces depend on the machine.
                num_threads=1,
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:
            raise InputError(_complaint(size, texts, str(error))) from error
        return cls(base64.b64encode(trained.getvalue()).decode(), lowercase)

    @classmethod
    def read(cls, path: Path, lowercase: bool) -> "Subwords":
        """Reads a model that SentencePiece made.

        Args:
            path: Its file.
            lowercase: Whether lines are turned into lower case.

        Raises:
            InputError: If it cannot be read, or its first four tokens are others.
        """
        try:
            with opened(path) as file:
                read = cls(base64.b64encode(file.read(LARGEST_TEXT)).decode(), lowercase)
        except RuntimeError as error:
            raise InputError(f"{path} is not a SentencePiece model, or is damaged") from error
        if not read.tokens:
            raise InputError(f"{path} is not a SentencePiece model: it is empty")
        own = read._processor
        ids = (own.pad_id(), own.unk_id(), own.bos_id(), own.eos_id())
        if ids != (PADDING, UNKNOWN_ID, BEGIN, END):
            raise InputError(
                f"{path}: padding, unknown, begin, end must be tokens 0 to 3, not {ids}; train it "
                "with spm_train --pad_id=0 --unk_id=1 --bos_id=2 --eos_id=3"
            )
        return read

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(_prepared(text, self.lowercase))

    def split(self, text: str) -> list[str]:
        return self._processor.encode(_prepared(text, self.lowercase), out_type=str)

    def join(self, tokens: Sequence[str]) -> str:
        # SentencePiece leaves pieces that it does not know as they are, the sign for a space, too.
        return " ".join(self._processor.decode(list(tokens)).replace(_SPACE, " ").split())

    def plain(self, text: str) -> str:
        return text

    @property
    def settings(self) -> dict[str, Any]:
        return {"tokenization": "subwords", "model": self._model, "lowercase": self.lowercase}


class Words(Tokenizer):
    """Words and punctuation marks.

    Args:
        words: Those that are known; they follow the first four tokens.
        tokenization: How a line is split: at white space ("space"), or by the rules of Moses
            ("moses"; Koehn et al. 2007, ACL, demo session), which also put words together again.
        language: Whose rules they are, as in ISO 639-1: ``de``; general ones where Moses has none.
        lowercase: Whether words are turned into lower case.
        detokenize: Whether words split at white space are put together by the rules of Moses, whose
            escapes, like ``&apos;``, are resolved. Otherwise there are spaces between them.

    Raises:
        InputError: If the rules of Moses are needed and sacremoses is not installed.
    """

    def __init__(
        self, words: list[str], tokenization: Splitting, language: str, lowercase: bool,
        detokenize: bool,
    ) -> None:  # fmt: skip
        self.tokens = [*_SPECIALS, *words]
        self.tokenization = tokenization
        self.language = language
        self.lowercase = lowercase
        self.detokenize = detokenize
        # A text that spells out "<s>" must not begin a sentence.
        self._ids = {token: i for i, token in enumerate(self.tokens) if i > END}
        self._separate: Callable[[str], list[str]] = str.split
        self._unite: Callable[[Sequence[str]], str] = " ".join
        if tokenization == "moses":
            self._separate = partial(_moses().MosesTokenizer(language).tokenize, escape=False)
        if tokenization == "moses" or detokenize:
            self._unite = _moses().MosesDetokenizer(language).detokenize

    @classmethod
    def train(
        cls, lines: Iterable[str], min_count: int, max_size: int | None, tokenization: Splitting,
        language: str, lowercase: bool, detokenize: bool,
    ) -> "Words":  # fmt: skip
        """Takes the frequent words, the most frequent first and equals in alphabetical order.

        Args:
            lines: Text.
            min_count: Times that a word must occur.
            max_size: Words at most, the first four tokens not counted; no limit if None.
            tokenization: As for ``Words``.
            language: As for ``Words``.
            lowercase: As for ``Words``.
            detokenize: As for ``Words``.

        Raises:
            InputError: If no word occurs so often, or sacremoses is needed and not installed.
        """
        split = cls([], tokenization, language, lowercase, detokenize).split
        counts = Counter(word for line in lines for word in split(line))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        words = [word for word, count in ranked if count >= min_count and word not in _SPECIALS]
        if not words:
            raise InputError(f"no word of the text occurs {min_count} times: lower min_count")
        return cls(words[:max_size], tokenization, language, lowercase, detokenize)

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(word, UNKNOWN_ID) for word in self.split(text)]

    def split(self, text: str) -> list[str]:
        # After splitting, since the rules look at the case.
        words = self._separate(text)
        return [word.lower() for word in words] if self.lowercase else words

    def join(self, tokens: Sequence[str]) -> str:
        return self._unite(tokens)

    def plain(self, text: str) -> str:
        return self._unite(text.split()) if self.detokenize else text

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "tokenization": self.tokenization,
            "words": self.tokens[len(_SPECIALS) :],
            "language": self.language,
            "lowercase": self.lowercase,
            "detokenize": self.detokenize,
        }


def make_tokenizer(settings: dict[str, Any]) -> Tokenizer:
    """Makes the tokenizer that has these ``settings``."""
    if settings["tokenization"] == "subwords":
        return Subwords(settings["model"], settings["lowercase"])
    return Words(**settings)


def _prepared(text: str, lowercase: bool) -> str:
    # SentencePiece refuses half a character, as a JSON string that was cut may end with.
    text = text.encode(errors="replace").decode()
    # Not by SentencePiece's own rules for this, which also make "ss" of "ß".
    return text.lower() if lowercase else text


def _sample(lines: Iterable[str], size: int) -> list[str]:
    """Draws as many lines, each as likely, in one pass (Vitter 1985, algorithm R)."""
    generator = random.Random(0)
    drawn: list[str] = []
    for count, line in enumerate(lines):
        if count < size:
            drawn.append(line)
        elif (place := generator.randrange(count + 1)) < size:
            drawn[place] = line
    return drawn


def _complaint(size: int, texts: list[str], reason: str) -> str:
    if not any(text.strip() for text in texts):
        return "there is no text to make subwords of"
    if found := _TOO_HIGH.search(reason):
        reason = f"it has enough for {found[1]}; choose that or fewer, or give more text"
    elif found := _TOO_LOW.search(reason):
        reason = f"its characters alone need {found[1]}; choose that or more"
    return f"{size} subwords cannot be made of this text: {reason}"


def _moses() -> ModuleType:
    try:
        return importlib.import_module("sacremoses")
    except ImportError as error:
        raise InputError('Moses needs sacremoses: pip install "srulight[translation]"') from error
