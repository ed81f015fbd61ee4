"""Prefixes of a beam search: their words, and the probabilities of their alignments."""

import math
from typing import Any, NamedTuple

from srulight.tasks.speech_recognition.ctc.base import BLANK, Token

NEVER = -math.inf
"""Logarithm of the probability of what cannot be."""


class PrefixWords(NamedTuple):
    """The words of a prefix.

    Attributes:
        score: Sum over the complete words.
        state: State of the language model after these.
        begun: Text of the word after these.
    """

    score: float
    state: Any
    begun: str


class Prefix:
    """A sequence of tokens: that of its parent and one token more.

    Attributes:
        parent: The prefix without the last token; None for the one that all begin with.
        token: The last token.
        words: The words of the tokens.
        completed: The same with the last word complete; None until it is asked for.
        children: The prefixes with one token more that are on the beam or lead there, by token.
    """

    __slots__ = ("children", "completed", "parent", "token", "words")

    def __init__(self, parent: "Prefix | None", token: int, words: PrefixWords) -> None:
        self.parent = parent
        self.token = token
        self.words = words
        self.completed: PrefixWords | None = None
        self.children: dict[int, Prefix] = {}


class Run(NamedTuple):
    """The last token of an alignment, and those before it."""

    token: Token
    before: "Run | None"


Best = tuple[float, Run | None]


class PrefixScores:
    """The alignments of a prefix with the frames so far: all together, and the best.

    Attributes:
        blank: Log-probability of all that end with blank.
        label: Log-probability of all that end with the last token.
        total: Log-probability of all.
        best_blank: The most probable one that ends with blank, and its log-probability.
        best_label: The same of those that end with the last token.
    """

    __slots__ = ("best_blank", "best_label", "blank", "label", "total")

    def __init__(self, blank: float, label: float, best_blank: Best, best_label: Best) -> None:
        self.blank = blank
        self.label = label
        self.total = _log_add(blank, label)
        self.best_blank = best_blank
        self.best_label = best_label

    def best(self) -> Best:
        """Gives the most probable alignment."""
        return self.best_blank if self.best_blank[0] > self.best_label[0] else self.best_label

    def stay(self, row: list[float], end: int) -> "PrefixScores":
        """Reads a frame that adds no token: it has blank, or repeats the last token.

        Args:
            row: Log-probability of each token in the frame.
            end: Number of frames up to this one.
        """
        log_prob, run = self.best()
        best_blank = (log_prob + row[BLANK], run)
        log_prob, run = self.best_label
        if run is None:
            return PrefixScores(self.total + row[BLANK], NEVER, best_blank, self.best_label)
        (token, start, _), before = run
        best_label = (log_prob + row[token], Run(Token(token, start, end), before))
        return PrefixScores(
            self.total + row[BLANK], self.label + row[token], best_blank, best_label
        )

    def extend(self, row: list[float], last: int, token: int, end: int) -> "PrefixScores":
        """Reads a frame that adds a token, and gives the alignments of the longer prefix.

        Args:
            row: Log-probability of each token in the frame.
            last: Last token of the prefix; a blank must separate it from another of the same kind.
            token: The new token.
            end: Number of frames up to this one.
        """
        log_prob, run = self.best_blank if token == last else self.best()
        best_label = (log_prob + row[token], Run(Token(token, end - 1, end), run))
        before = self.blank if token == last else self.total
        return PrefixScores(NEVER, before + row[token], (NEVER, None), best_label)

    def merge(self, other: "PrefixScores") -> None:
        """Adds alignments of the same prefix that end with its last token."""
        self.label = _log_add(self.label, other.label)
        self.total = _log_add(self.total, other.label)
        if other.best_label[0] > self.best_label[0]:
            self.best_label = other.best_label


def _log_add(a: float, b: float) -> float:
    """Gives log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))
