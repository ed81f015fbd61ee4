"""Language models of words that look a few words back, as ARPA files hold them."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, Self, TypeVar

from srulight.runtime.errors import InputError
from srulight.runtime.files import raw_lines

StateT = TypeVar("StateT")
"""What a language model still needs to know of the words before."""

WordTuple = tuple[str, ...]
"""Some words, the latest last."""

BINARY = b"mmap lm http://kheafield.com/code"
"""How binary files of KenLM begin."""

UNKNOWN = "<unk>"
FLOOR = -7.0
"""Decimal logarithm of the probability of a word that the model says nothing of."""

LN10 = math.log(10)
_BEGIN = "<s>"
_END = "</s>"
_COUNT = re.compile(rb"ngram\s+(\d{1,9})\s*=\s*(\d{1,18})")


class WordModel(ABC, Generic[StateT]):
    """A language model that reads one word after another."""

    @property
    @abstractmethod
    def start(self) -> StateT:
        """What is known before the first word of a sentence."""

    @abstractmethod
    def score(self, state: StateT, word: str) -> tuple[float, StateT]:
        """Reads the next word.

        Args:
            state: ``start``, or what the previous call returned.
            word: The word.

        Returns:
            Natural logarithm of its probability, and the state after it.
        """

    def finish(self, state: StateT) -> float:
        """Gives the natural logarithm of the probability that the sentence ends here.

        Args:
            state: What the call for the last word returned, or ``start``.
        """
        return self.score(state, _END)[0]


class NGram(WordModel[WordTuple]):
    """Probabilities of a word after the few words before it, with backing off.

    Katz (1987), Estimation of Probabilities from Sparse Data, IEEE Transactions on Acoustics,
    Speech and Signal Processing 35(3): an n-gram that the model does not list has the probability
    of the one without its first word, times the backoff weight of the words before the last. A
    weight that is not listed is 1.

    A word that the model does not know is ``<unk>`` to it, or ``<UNK>``. In the file of a model
    that has neither, such a word has the probability 1e-7, times the backoff weights.

    Args:
        order: Words in the longest n-grams.
        log_probs: Decimal logarithm of the probability of the last word of each n-gram, with
            ``<s>``, ``</s>`` and ``<unk>`` among the single words.
        backoffs: Decimal logarithm of the backoff weight after some words; 0 if left out.

    Attributes:
        order: Words in the longest n-grams.
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
            path: The file; plain, or compressed by gzip.

        Raises:
            InputError: If the file is missing, cut off or not what its own counts say, or a line of
                it cannot be understood.
        """
        return cls(*_Reader(path, raw_lines(path, "name an ARPA file")).read())

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
        # After it counts what the model lists together.
        if len(words) == self.order:
            words = words[1:]
        while words and words not in self._log_probs:
            words = words[1:]
        return log_prob * LN10, words


class _Reader:
    """Reads the lines of an ARPA file one by one, and knows where it is."""

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
                    f"{self.path} is a binary file of KenLM, of which one wrong byte can crash a "
                    "program: name the ARPA file that it was made from"
                )
        counts, line = self._counts()
        for n, count in enumerate(counts, start=1):
            self._expect(line, rb"\%d-grams:" % n)
            line = self._section(n, count, longest=n == len(counts))
        self._expect(line, b"\\end\\")
        for word in (_BEGIN, _END):
            if (word,) not in self.log_probs:
                raise InputError(f"{self.path} must have {word} among its 1-grams")
        self.log_probs.setdefault((UNKNOWN,), FLOOR)
        return len(counts), self.log_probs, self.backoffs

    def _counts(self) -> tuple[list[int], bytes]:
        """Reads how many n-grams there are of each length, and the line after that."""
        counts: list[int] = []
        while match := _COUNT.fullmatch(line := self._line()):
            n, count = map(int, match.groups())
            if n != len(counts) + 1 or (n == 1 and count == 0):
                raise self._error(
                    f"the number of {len(counts) + 1}-grams, 1 or more of 1-grams", line
                )
            counts.append(count)
        if not counts:
            raise self._error("a line such as 'ngram 1=2000'", line)
        return counts, line

    def _section(self, n: int, count: int, longest: bool) -> bytes:
        """Reads the n-grams of one length, and the line after them."""
        for done in range(count):
            line = self._line()
            if line.startswith(b"\\"):
                raise self._error(f"{count} {n}-grams, of which {count - done} are missing", line)
            self._ngram(line, n, longest)
        return self._line()

    def _ngram(self, line: bytes, n: int, longest: bool) -> None:
        log_prob, *fields = line.split()
        if len(fields) != n and (longest or len(fields) != n + 1):
            weight = "" if longest else " and, if it has one, a backoff weight"
            raise self._error(f"a logarithm, {n} word{'s' * (n > 1)}{weight}", line)
        words = self._words(fields[:n], line)
        if words in self.log_probs:
            raise self._error(f"each {n}-gram once", line)
        if words[:-1] and words[:-1] not in self.log_probs:
            raise self._error(f"a {n}-gram whose first {n - 1} words are listed before", line)
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
            # One object for each word, in however many n-grams.
            self.names[fields[0]] = UNKNOWN if word == "<UNK>" else word
        try:
            return tuple([self.names[field] for field in fields])
        except KeyError as error:
            raise self._error("words that are among the 1-grams", line) from error

    def _number(self, field: bytes, line: bytes) -> float:
        try:
            value = float(field)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._error("a finite logarithm to base 10", line)
        return value

    def _line(self) -> bytes:
        """Gives the next line that is not blank, without white space around it."""
        for number, line in self.lines:
            if line := line.strip():
                self.number = number
                return line
        raise InputError(f"{self.path} is cut off, or no ARPA file: it must end with \\end\\")

    def _expect(self, line: bytes, wanted: bytes) -> None:
        if line != wanted:
            raise self._error(f"{wanted.decode()}, as the counts say", line)

    def _error(self, wanted: str, line: bytes) -> InputError:
        got = line[:80].decode(errors="replace")
        return InputError(f"{self.path}:{self.number}: expected {wanted}; got {got!r}")
