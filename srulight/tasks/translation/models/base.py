"""The interface of translators.

Shapes: B sentences of S source tokens; N = K * B translations of T tokens (the K translations of a
sentence are adjacent); E features of a token embedding; H features of an output.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn


class Memory(NamedTuple):
    """Encoded source sentences, for a decoder to attend to.

    Attributes:
        encoded: Encoded source steps, (B, S, M).
        valid: Mask of the steps that are not padding, (B, S) bool.
    """

    encoded: Tensor
    valid: Tensor

    def select(self, sentences: Tensor) -> "Memory":
        """Selects sentences.

        Args:
            sentences: Indices of the sentences to keep, (B',) int64.
        """
        return Memory(self.encoded[sentences], self.valid[sentences])


State = tuple[Tensor, ...]
"""State of a decoder after some target tokens; the second dimension of each tensor is N."""


class Decoded(NamedTuple):
    """Output of a decoder for some target tokens.

    Attributes:
        features: Features from which the next token is predicted, (N, T, H).
        attention: Attention weights of each step over the source tokens, (N, T, S); each row sums
            to 1.
        state: State of the decoder after the last token.
    """

    features: Tensor
    attention: Tensor
    state: State


class Translator(nn.Module, ABC):
    """An encoder and a decoder that work on token embeddings.

    Source steps in the padding do not affect the result. A target step depends only on earlier
    steps, so decoding all tokens in one call, as in training, gives the same result as decoding
    them in several calls.

    Attributes:
        input_size: Number of features of a token embedding, E.
        output_size: Number of features of an output, H.
    """

    input_size: int
    output_size: int

    @abstractmethod
    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Encodes source sentences.

        Args:
            source: Token embeddings, (B, S, E).
            lengths: Number of tokens of each sentence without padding, (B,) int64, from 1 to S.

        Returns:
            The encoded sentences, for ``decode``.
        """

    @abstractmethod
    def decode(self, target: Tensor, memory: Memory, state: State | None = None) -> Decoded:
        """Feeds the next target tokens to the decoder.

        Args:
            target: Token embeddings, (N, T, E), T at least 1. The K translations of a sentence are
                adjacent; K is 1 in training.
            memory: Result of ``encode`` for the B sentences.
            state: State returned by the previous call for these translations; None at the
                beginning.

        Returns:
            Features, attention weights, and the state after the last token.
        """


TranslatorFactory = Callable[[int], Translator]
"""A function that builds a translator for a given ``input_size``."""


def select_state(state: State, rows: Tensor) -> State:
    """Selects the decoder state of some translations.

    Args:
        state: State of N translations.
        rows: Indices of the translations to select, (N',) int64; an index may occur several times.
    """
    return tuple(part.index_select(1, rows) for part in state)
