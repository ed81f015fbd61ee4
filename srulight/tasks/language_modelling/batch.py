"""A batch of running text."""

from typing import NamedTuple

from torch import Tensor


class StreamBatch(NamedTuple):
    """The next segment of several tracks of a running text.

    Attributes:
        tokens: Token ids, (B, T) int64.
        targets: Token that follows each, (B, T) int64; -100 past the end of a track.
        is_first: Whether the tracks begin here; otherwise they go on from the batch before.
    """

    tokens: Tensor
    targets: Tensor
    is_first: bool

    @property
    def size(self) -> int:
        """How much there is in the batch, in its ``unit``."""
        return self.tokens.numel()

    @property
    def unit(self) -> str:
        """What speed is counted in."""
        return "tokens"
