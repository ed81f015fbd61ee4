"""Tokenizers with a list of tokens as vocabulary."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import ClassVar, Self

from srulight.runtime.errors import InputError, check_range
from srulight.text.tokenizers.base import UNKNOWN, Tokenizer


class LookupTokenizer(Tokenizer):
    """A tokenizer that splits text into parts, and looks up their ids in a list.

    Args:
        lowercase: Whether to convert text to lowercase.
        min_count: Minimum number of occurrences in the training text for a token to be in the
            vocabulary.
        max_size: Maximum size of the vocabulary without the special tokens; no limit if None.
    """

    shape = [str]  # noqa: RUF012
    _end: ClassVar[str]  # name of the token for the end of a line

    def __init__(self, lowercase: bool, min_count: int, max_size: int | None) -> None:
        check_range(1, min_count=min_count, max_size=max_size)
        self.lowercase = lowercase
        self.min_count = min_count
        self.max_size = max_size
        self._ids = _Ids()

    @abstractmethod
    def _parts(self, text: str) -> Iterable[str]:
        """Splits a text into the names of its tokens."""

    def _given(self) -> Iterable[str] | None:
        """Returns the vocabulary if an option determines it; None otherwise."""
        return None

    def tokenize(self, text: str) -> list[str]:
        return list(self._parts(text))

    def encode(self, text: str | Sequence[str]) -> list[int]:
        """Returns the token ids of a text.

        Args:
            text: A text, or a list of tokens, which are not split.

        Raises:
            InputError: If a token is not in the vocabulary, and there is no ``<unk>``.
        """
        parts = self._parts(text) if isinstance(text, str) else text
        return list(map(self._ids.__getitem__, parts))

    def fit(
        self, texts: Iterable[str | Sequence[str]], specials: Sequence[str], *, lines: bool = False
    ) -> Self:
        """Builds the vocabulary from the most frequent tokens, or from an option.

        Args:
            texts: Training texts, or lists of tokens, which are not split. They are not read if an
                option determines the vocabulary.
            specials: Names of the special tokens. Without ``<unk>``, ``encode`` raises an error for
                out-of-vocabulary tokens, and the tokens are in alphabetical order.
            lines: Whether texts may have several lines; if so, the end of a line is a token.

        Returns:
            A copy with the vocabulary.

        Raises:
            InputError: If the vocabulary would be empty.
        """
        tokens = self._given()
        if tokens is None:
            split = self.with_vocabulary((), specials, lines)._parts
            parts = (split(text) if isinstance(text, str) else text for text in texts)
            tokens = self.rank(Counter(chain.from_iterable(parts)), specials)
        if UNKNOWN not in specials:
            tokens = sorted(set(tokens))
        return self.with_vocabulary(tokens, specials, lines)

    def rank(self, counts: Counter[str], specials: Sequence[str]) -> list[str]:
        """Sorts tokens by decreasing frequency, and those of equal frequency alphabetically.

        Args:
            counts: Number of occurrences of each token.
            specials: Names of the special tokens, which are left out.

        Returns:
            Tokens with at least ``min_count`` occurrences, at most ``max_size``.

        Raises:
            InputError: If no token occurs at least ``min_count`` times.
        """
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        left = [name for name, n in ranked if n >= self.min_count and name not in specials]
        if not set(left) - {self._end}:
            if not counts.keys() - {self._end, *specials}:
                raise InputError(f"expected {self.unit}s in the training text, got none")
            raise InputError(
                f"no {self.unit} occurs min_count={self.min_count} times in the training text; "
                "lower min_count"
            )
        return left[: self.max_size]

    def with_vocabulary(
        self, vocabulary: Iterable[str], specials: Sequence[str], lines: bool = False
    ) -> Self:
        end = [self._end] if lines else []
        names = list(dict.fromkeys((*specials, *vocabulary, *end)))
        fitted = self._copy(names, specials, lines, self._end)
        ids = {name: i for i, name in enumerate(names) if i >= len(specials)}
        fitted.vocabulary = names
        fitted._ids = _Ids(ids, fitted.unknown, self.unit)
        return fitted


class _Ids(dict[str, int]):
    """Ids of tokens; a missing token has the id of ``<unk>``, or raises an error without it."""

    def __init__(
        self, ids: dict[str, int] | None = None, unknown: int | None = None, unit: str = ""
    ) -> None:
        super().__init__(ids or {})
        self._unknown = unknown
        self._unit = unit

    def __missing__(self, name: str) -> int:
        if self._unknown is None:
            raise InputError(f"{self._unit} {name!r} is not in the vocabulary")
        return self._unknown
