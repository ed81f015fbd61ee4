"""The alignments of a prefix with the frames so far: all together, and the best."""

import math
from typing import NamedTuple

from srulight.tasks.speech_recognition.ctc.base import BLANK, Token

NEVER = -math.inf
"""Logarithm of the probability of what cannot be."""


class Run(NamedTuple):
    """The last token of an alignment, and those before it."""

    token: Token
    before: "Run | None"


Best = tuple[float, Run | None]


class PrefixScores:
    """The alignments of a prefix, by whether they end with blank or with its last token.

    Attributes:
        blank: Log-probability of all that end with blank.
        label: Log-probability of all that end with the token.
        total: Log-probability of all.
        best_blank: The most probable that ends with blank, and its log-probability.
        best_label: The same of those that end with the token.
    """

    __slots__ = ("best_blank", "best_label", "blank", "label", "total")

    def __init__(self, blank: float, label: float, best_blank: Best, best_label: Best) -> None:
        self.blank = blank
        self.label = label
        self.total = _add(blank, label)
        self.best_blank = best_blank
        self.best_label = best_label

    def best(self) -> Best:
        """Gives the most probable alignment."""
        return self.best_blank if self.best_blank[0] > self.best_label[0] else self.best_label

    def stay(self, row: list[float], end: int) -> "PrefixScores":
        """Reads a frame that adds no token: it has blank, or the last token still.

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

    def leave(self, row: list[float], last: int, token: int, end: int) -> "PrefixScores":
        """Reads a frame that adds a token, and gives the ways to the longer prefix.

        Args:
            row: Log-probability of each token in the frame.
            last: Last token of the prefix; a blank must part it from the same once more.
            token: The new token.
            end: Number of frames up to this one.
        """
        log_prob, run = self.best_blank if token == last else self.best()
        best_label = (log_prob + row[token], Run(Token(token, end - 1, end), run))
        before = self.blank if token == last else self.total
        return PrefixScores(NEVER, before + row[token], (NEVER, None), best_label)

    def join(self, other: "PrefixScores") -> None:
        """Takes in alignments of the same prefix that end with its last token."""
        self.label = _add(self.label, other.label)
        self.total = _add(self.total, other.label)
        if other.best_label[0] > self.best_label[0]:
            self.best_label = other.best_label


def _add(a: float, b: float) -> float:
    """Gives log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))
