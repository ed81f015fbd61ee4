"""A tokenizer with bytes as tokens."""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from srulight.runtime.files import well_formed
from srulight.text.tokenizers.base import Tokenizer

_NAMES = [f"<0x{value:02X}>" for value in range(256)]  # the notation of SentencePiece
_VALUES = {name: value for value, name in enumerate(_NAMES)}


class Bytes(Tokenizer):
    """Splits text into the bytes of its UTF-8 encoding.

    The vocabulary consists of the special tokens and the 256 bytes, and needs no training.
    """

    unit = "byte"

    def fit(self, texts: Iterable[str], specials: Sequence[str], *, lines: bool = False) -> Self:
        return self.with_vocabulary(None, specials, lines)

    def with_vocabulary(
        self, vocabulary: None, specials: Sequence[str], lines: bool = False
    ) -> Self:
        return self._copy([*specials, *_NAMES], specials, lines, _NAMES[ord("\n")])

    def encode(self, text: str) -> list[int]:
        values = well_formed(text).encode()
        first = len(self.specials)
        return [first + value for value in values] if first else list(values)

    def tokenize(self, text: str) -> list[str]:
        return [_NAMES[value] for value in well_formed(text).encode()]

    def join(self, tokens: Sequence[str]) -> str:
        parts = (bytes([_VALUES[t]]) if t in _VALUES else t.encode() for t in tokens)
        return b"".join(parts).decode("utf-8", "replace")

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.decode_stream(ids))

    def decode_stream(self, ids: Iterable[int], before: int | None = None) -> Iterator[str]:
        # A character may have several bytes, which are decoded when the last one arrives.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        first = len(self.specials)
        for i in ids:
            if i >= first and (piece := decoder.decode(bytes([i - first]))):
                yield piece
        if piece := decoder.decode(b"", final=True):
            yield piece
