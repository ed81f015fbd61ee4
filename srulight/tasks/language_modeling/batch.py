"""Batches of running text."""

from typing import NamedTuple

from torch import Tensor


class StreamBatch(NamedTuple):
    """The next segment of several tracks of a running text.

    Attributes:
        tokens: Token ids, (B, T) int64.
        targets: Ids of the tokens that follow, (B, T) int64; -100 past the end of a track.
        is_first: Whether the tracks begin with this batch; otherwise they continue the previous
            batch.
    """

    tokens: Tensor
    targets: Tensor
    is_first: bool

    @property
    def size(self) -> int:
        """Size of the batch in its ``unit``."""
        return self.tokens.numel()

    @property
    def unit(self) -> str:
        """Unit in which the training speed is reported."""
        return "tokens"
