"""Characters as tokens."""

from collections.abc import Iterable, Iterator, Sequence

from srulight.text.tokenizers.base import UNKNOWN
from srulight.text.tokenizers.lookup import LookupTokenizer

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Characters(LookupTokenizer):
    """Unicode characters, white space among them.

    Args:
        alphabet: Characters of the vocabulary; those of the training texts if None.
        lowercase: Turn text into lower case.
        min_count: Times that a character must occur in training to be in the vocabulary.
        max_size: Most characters of the vocabulary, special tokens not counted; no limit if None.
    """

    options = {"lowercase": bool}  # noqa: RUF012
    _unit = "character"
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

    def _given(self) -> str | None:
        return self.alphabet

    def _parts(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def join(self, tokens: Sequence[str]) -> str:
        return "".join([_REPLACEMENT if name == UNKNOWN else name for name in tokens])

    def decode_stream(self, ids: Iterable[int], before: int | None = None) -> Iterator[str]:
        return filter(None, map(self.text_of, ids))

    def spans(self, text: str) -> list[tuple[int, int]]:
        # In lower case, some characters are two.
        return [(i, i + 1) for i, sign in enumerate(text) for _ in self._parts(sign)]
