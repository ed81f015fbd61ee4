"""A tokenizer with characters as tokens."""

from collections.abc import Iterable, Iterator, Sequence

from srulight.text.tokenizers.base import UNKNOWN
from srulight.text.tokenizers.lookup import LookupTokenizer

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Characters(LookupTokenizer):
    """Splits text into Unicode characters, including white space.

    Args:
        alphabet: All characters of the vocabulary; those of the training text if None.
        lowercase: Whether to convert text to lowercase.
        min_count: Minimum number of occurrences in the training text for a character to be in the
            vocabulary.
        max_size: Maximum number of characters in the vocabulary, without the special tokens; no
            limit if None.
    """

    options = {"lowercase": bool}  # noqa: RUF012
    unit = "character"
    _end = "\n"

    def __init__(
        self,
        alphabet: str | None = None,
        lowercase: bool = False,
        min_count: int = 1,
        max_size: int | None = None,
    ) -> None:
        super().__init__(lowercase, min_count, max_size)
        self.alphabet = alphabet

    @property
    def is_closed(self) -> bool:
        return self.alphabet is not None

    def _given(self) -> str | None:
        return self.alphabet

    def _parts(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def join(self, tokens: Sequence[str]) -> str:
        return "".join([_REPLACEMENT if name == UNKNOWN else name for name in tokens])

    def decode_stream(self, ids: Iterable[int], before: int | None = None) -> Iterator[str]:
        return filter(None, map(self.text_of, ids))

    def spans(self, text: str) -> list[tuple[int, int]]:
        # The lowercase form of some characters has two.
        return [(i, i + 1) for i, sign in enumerate(text) for _ in self._parts(sign)]
