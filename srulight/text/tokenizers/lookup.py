"""Tokenizers whose tokens are looked up in a list."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import ClassVar, Self

from srulight.runtime.errors import InputError, check_range
from srulight.text.tokenizers.base import UNKNOWN, Tokenizer


class LookupTokenizer(Tokenizer):
    """Tokens that are parts of the text, and looked up in a list.

    Args:
        lowercase: Turn text into lower case.
        min_count: Times that a token must occur in training to be in the vocabulary.
        max_size: Most tokens of the vocabulary, special ones not counted; no limit if None.
    """

    shape = [str]  # noqa: RUF012
    _unit: ClassVar[str]  # what a token is called
    _end: ClassVar[str]  # what a line's end is called

    def __init__(self, lowercase: bool, min_count: int, max_size: int | None) -> None:
        check_range(1, min_count=min_count, max_size=max_size)
        self.lowercase = lowercase
        self.min_count = min_count
        self.max_size = max_size
        self._ids = _Ids()

    @abstractmethod
    def _parts(self, text: str) -> Iterable[str]:
        """Splits a text."""

    def _given(self) -> Iterable[str] | None:
        """Gives the vocabulary that an option has; None without."""
        return None

    def tokenize(self, text: str) -> list[str]:
        return list(self._parts(text))

    def encode(self, text: str | Sequence[str]) -> list[int]:
        """Gives the ids of a text's tokens.

        Args:
            text: A text; or a list of tokens, to look up as they are.

        Raises:
            InputError: If one is not in the vocabulary, and there is no ``<unk>``.
        """
        parts = self._parts(text) if isinstance(text, str) else text
        return list(map(self._ids.__getitem__, parts))

    def fit(
        self, texts: Iterable[str | Sequence[str]], specials: Sequence[str], *, lines: bool = False
    ) -> Self:
        """Takes the frequent tokens, or those that an option gives.

        Args:
            texts: Training texts, or lists of tokens to count as they are; not read where an
                option gives the vocabulary.
            specials: Names of the special tokens. Without ``<unk>``, ``encode`` refuses what is
                not in the vocabulary, and tokens are in alphabetical order.
            lines: Whether texts have several lines, whose ends are tokens.

        Returns:
            A copy with the vocabulary.

        Raises:
            InputError: If no token is left.
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
        """Gives the frequent tokens, the most frequent first and equals in alphabetical order.

        Args:
            counts: How often each occurs.
            specials: Names of the special tokens, which are none of them.

        Raises:
            InputError: If no token occurs as often as ``min_count`` says.
        """
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        left = [name for name, n in ranked if n >= self.min_count and name not in specials]
        if not set(left) - {self._end}:
            if not counts.keys() - {self._end, *specials}:
                raise InputError(f"the training text has no {self._unit}s")
            raise InputError(
                f"no {self._unit} of the training text occurs {self.min_count} times: lower "
                "min_count"
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
        fitted._ids = _Ids(ids, fitted.unknown, self._unit)
        return fitted


class _Ids(dict[str, int]):
    """Ids of tokens, one for all that are unknown or an error."""

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
