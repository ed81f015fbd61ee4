"""N-gram language models of words, read from ARPA files."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, Self, TypeVar

from srulight.runtime.errors import InputError
from srulight.runtime.files import raw_lines

StateT = TypeVar("StateT")
"""State of a language model: what it needs to know about the previous words."""

WordTuple = tuple[str, ...]
"""A sequence of words, the most recent last."""

BINARY = b"mmap lm http://kheafield.com/code"
"""First bytes of a binary file of KenLM."""

UNKNOWN = "<unk>"
FLOOR = -7.0
"""Decimal logarithm of the probability of an out-of-vocabulary word in a model without <unk>."""

LN10 = math.log(10)
_BEGIN = "<s>"
_END = "</s>"
_COUNT = re.compile(rb"ngram\s+(\d{1,9})\s*=\s*(\d{1,18})")


class WordModel(ABC, Generic[StateT]):
    """Base class of language models that score words one by one."""

    @property
    @abstractmethod
    def start(self) -> StateT:
        """State at the start of a sentence."""

    @abstractmethod
    def score(self, state: StateT, word: str) -> tuple[float, StateT]:
        """Scores the next word.

        Args:
            state: ``start``, or the state that the previous call returned.
            word: The word.

        Returns:
            Natural logarithm of the probability of the word, and the state after it.
        """

    def finish(self, state: StateT) -> float:
        """Scores the end of the sentence.

        Args:
            state: The state after the last word, or ``start``.

        Returns:
            Natural logarithm of the probability that the sentence ends here.
        """
        return self.score(state, _END)[0]


class NGram(WordModel[WordTuple]):
    """An n-gram language model with backoff.

    Katz (1987), Estimation of Probabilities from Sparse Data, IEEE Transactions on Acoustics,
    Speech and Signal Processing 35(3). The probability of an n-gram that the model does not list is
    that of the n-gram without its first word, times the backoff weight of the context. A backoff
    weight that is not listed is 1.

    An out-of-vocabulary word is scored as ``<unk>`` or ``<UNK>``. If the file has neither, such a
    word has probability 1e-7, times the backoff weights.

    Args:
        order: Number of words in the longest n-grams.
        log_probs: Decimal logarithm of the probability of the last word of each n-gram. The
            unigrams must include ``<s>``, ``</s>`` and ``<unk>``.
        backoffs: Decimal logarithm of the backoff weight of each context; 0 if missing.

    Attributes:
        order: Number of words in the longest n-grams.
    """

    def __init__(
        self, order: int, log_probs: dict[WordTuple, float], backoffs: dict[WordTuple, float]
    ) -> None:
        self.order = order
        self._log_probs = log_probs
        self._backoffs = backoffs

    @classmethod
    def read(cls, path: Path) -> Self:
        r"""Reads an ARPA file in UTF-8; text before ``\data\`` is skipped.

        Args:
            path: The file, plain or compressed with gzip.

        Returns:
            The language model.

        Raises:
            InputError: If the file is missing or truncated, contradicts its own counts, or has a
                malformed line.
        """
        return cls(*_Reader(path, raw_lines(path, "pass an ARPA file")).read())

    @property
    def start(self) -> WordTuple:
        return (_BEGIN,)[: self.order - 1]

    def score(self, state: WordTuple, word: str) -> tuple[float, WordTuple]:
        if (word,) not in self._log_probs:
            word = UNKNOWN
        backoff = 0.0
        while (words := (*state, word)) not in self._log_probs:
            backoff += self._backoffs.get(state, 0.0)
            state = state[1:]
        log_prob = self._log_probs[words] + backoff
        # The state is the longest suffix that the model lists.
        if len(words) == self.order:
            words = words[1:]
        while words and words not in self._log_probs:
            words = words[1:]
        return log_prob * LN10, words


class _Reader:
    """Parses an ARPA file line by line, and keeps the line number for errors."""

    def __init__(self, path: Path, lines: Iterator[tuple[int, bytes]]) -> None:
        self.path = path
        self.lines = lines
        self.number = 0
        self.names: dict[bytes, str] = {}
        self.log_probs: dict[WordTuple, float] = {}
        self.backoffs: dict[WordTuple, float] = {}

    def read(self) -> tuple[int, dict[WordTuple, float], dict[WordTuple, float]]:
        while (line := self._line()) != b"\\data\\":
            if line.startswith(BINARY):
                raise InputError(
                    f"{self.path}: expected an ARPA file, got a binary file of KenLM; pass the "
                    "ARPA file that it was built from"
                )
        counts, line = self._counts()
        for n, count in enumerate(counts, start=1):
            self._expect(line, rb"\%d-grams:" % n)
            line = self._section(n, count, longest=n == len(counts))
        self._expect(line, b"\\end\\")
        for word in (_BEGIN, _END):
            if (word,) not in self.log_probs:
                raise InputError(
                    f"{self.path}: expected {word} among the 1-grams, got none; build the model "
                    "again"
                )
        self.log_probs.setdefault((UNKNOWN,), FLOOR)
        return len(counts), self.log_probs, self.backoffs

    def _counts(self) -> tuple[list[int], bytes]:
        """Reads the number of n-grams of each order, and the line after the counts."""
        counts: list[int] = []
        while match := _COUNT.fullmatch(line := self._line()):
            n, count = map(int, match.groups())
            if n != len(counts) + 1 or (n == 1 and count == 0):
                raise self._error(
                    f"the number of {len(counts) + 1}-grams (at least 1 for 1-grams)", line
                )
            counts.append(count)
        if not counts:
            raise self._error("a line such as 'ngram 1=2000'", line)
        return counts, line

    def _section(self, n: int, count: int, longest: bool) -> bytes:
        """Reads the n-grams of one order, and the line after them."""
        for done in range(count):
            line = self._line()
            if line.startswith(b"\\"):
                raise self._error(f"{count:,} {n}-grams ({count - done:,} are missing)", line)
            self._ngram(line, n, longest)
        return self._line()

    def _ngram(self, line: bytes, n: int, longest: bool) -> None:
        log_prob, *fields = line.split()
        if len(fields) != n and (longest or len(fields) != n + 1):
            weight = "" if longest else " and optionally a backoff weight"
            raise self._error(f"a logarithm, {n} word{'s' * (n > 1)}{weight}", line)
        words = self._words(fields[:n], line)
        if words in self.log_probs:
            raise self._error(f"each {n}-gram once", line)
        if words[:-1] and words[:-1] not in self.log_probs:
            raise self._error(f"a {n}-gram whose first {n - 1} words are listed as well", line)
        self.log_probs[words] = self._number(log_prob, line)
        if self.log_probs[words] > 0:
            raise self._error("the logarithm of a probability, 0 or less", line)
        if fields[n:]:
            self.backoffs[words] = self._number(fields[n], line)

    def _words(self, fields: list[bytes], line: bytes) -> WordTuple:
        if len(fields) == 1:
            try:
                word = fields[0].decode()
            except UnicodeDecodeError as error:
                raise self._error("a word in UTF-8", line) from error
            # Share one string object per word across all n-grams, to save memory.
            self.names[fields[0]] = UNKNOWN if word == "<UNK>" else word
        try:
            return tuple([self.names[field] for field in fields])
        except KeyError as error:
            raise self._error("words from the 1-grams", line) from error

    def _number(self, field: bytes, line: bytes) -> float:
        try:
            value = float(field)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._error("a finite logarithm to base 10", line)
        return value

    def _line(self) -> bytes:
        """Returns the next non-blank line, stripped of white space."""
        for number, line in self.lines:
            if line := line.strip():
                self.number = number
                return line
        raise InputError(
            f"{self.path}: expected an ARPA file that ends with \\end\\, got a truncated or "
            "different file"
        )

    def _expect(self, line: bytes, wanted: bytes) -> None:
        if line != wanted:
            raise self._error(f"{wanted.decode()} according to the counts", line)

    def _error(self, wanted: str, line: bytes) -> InputError:
        got = line[:80].decode(errors="replace")
        return InputError(f"{self.path}:{self.number}: expected {wanted}, got {got!r}")
