"""Prefixes of the beam search: their words, and the probabilities of their alignments."""

import math
from typing import Any, NamedTuple

from srulight.tasks.speech_recognition.ctc.base import BLANK, Token

NEVER = -math.inf
"""Log-probability of an impossible event."""


class PrefixWords(NamedTuple):
    """The words of a prefix.

    Attributes:
        score: Sum of the scores of the complete words.
        state: State of the language model after the complete words.
        begun: Text of the incomplete last word.
    """

    score: float
    state: Any
    begun: str


class Prefix:
    """A sequence of tokens, represented as a parent prefix and a last token.

    Attributes:
        parent: The prefix without the last token; None at the root.
        token: The last token.
        words: The words, of which the last may be incomplete.
        completed: The words with the last one complete; None until it is computed.
        children: Extensions by one token that are on the beam or have a descendant on it, by token.
    """

    __slots__ = ("children", "completed", "parent", "token", "words")

    def __init__(self, parent: "Prefix | None", token: int, words: PrefixWords) -> None:
        self.parent = parent
        self.token = token
        self.words = words
        self.completed: PrefixWords | None = None
        self.children: dict[int, Prefix] = {}


class Run(NamedTuple):
    """The last token of an alignment, linked to the tokens before it."""

    token: Token
    before: "Run | None"


Best = tuple[float, Run | None]


class PrefixScores:
    """Probabilities of the alignments of a prefix with the frames so far.

    Attributes:
        blank: Log-probability of all alignments that end with the blank.
        label: Log-probability of all alignments that end with the last token.
        total: Log-probability of all alignments.
        best_blank: Log-probability and tokens of the best alignment that ends with the blank.
        best_label: Log-probability and tokens of the best alignment that ends with the last token.
    """

    __slots__ = ("best_blank", "best_label", "blank", "label", "total")

    def __init__(self, blank: float, label: float, best_blank: Best, best_label: Best) -> None:
        self.blank = blank
        self.label = label
        self.total = _log_add(blank, label)
        self.best_blank = best_blank
        self.best_label = best_label

    def best(self) -> Best:
        """Returns the log-probability and the tokens of the most probable alignment."""
        return self.best_blank if self.best_blank[0] > self.best_label[0] else self.best_label

    def stay(self, row: list[float], end: int) -> "PrefixScores":
        """Reads a frame that adds no token: the blank, or a repetition of the last token.

        Args:
            row: Log-probability of each token in the frame.
            end: Number of frames up to and including this one.

        Returns:
            The scores of the same prefix after the frame.
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
        """Reads a frame that adds a token.

        Args:
            row: Log-probability of each token in the frame.
            last: Last token of the prefix. If it equals ``token``, a blank must separate the two.
            token: The new token.
            end: Number of frames up to and including this one.

        Returns:
            The scores of the extended prefix after the frame.
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
    """Returns log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))
