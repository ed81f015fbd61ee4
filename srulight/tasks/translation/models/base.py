"""What every translator promises.

Shapes: B sentences of S source tokens, N = K * B translations of T tokens (K of each sentence, next
to each other), E features of a token, H features of an output.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn


class Memory(NamedTuple):
    """Encoded source sentences, for a decoder to attend to.

    Attributes:
        encoded: Encoded source, (B, S, M).
        valid: Which steps are real, (B, S) bool.
    """

    encoded: Tensor
    valid: Tensor

    def select(self, sentences: Tensor) -> "Memory":
        """Gives that of some sentences only.

        Args:
            sentences: Their indices, (B',) int64.
        """
        return Memory(self.encoded[sentences], self.valid[sentences])


State = tuple[Tensor, ...]
"""State of a decoder after the tokens so far; the second dimension of each tensor is N."""


class Decoded(NamedTuple):
    """What a decoder makes of some target tokens.

    Attributes:
        features: What the next token is predicted from, after each, (N, T, H).
        attention: Attention of each step to each source token, (N, T, S); a row sums to 1.
        state: State of the decoder after the last of them.
    """

    features: Tensor
    attention: Tensor
    state: State


class Translator(nn.Module, ABC):
    """Encoder of source tokens and decoder of target tokens, from their embeddings.

    A step past the end of a source sentence changes nothing. A step of the target depends on those
    before it only: all at once, as in training, or in calls of any lengths, they give the same.

    Attributes:
        input_size: Features of a token, E.
        output_size: Features of an output, H.
    """

    input_size: int
    output_size: int

    @abstractmethod
    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Encodes sentences.

        Args:
            source: Embeddings of their tokens, (B, S, E).
            lengths: Real tokens of each, (B,) int64, 1 to S.
        """

    @abstractmethod
    def decode(self, target: Tensor, memory: Memory, state: State | None = None) -> Decoded:
        """Reads the next tokens of translations.

        Args:
            target: Embeddings of the tokens, (N, T, E), T at least 1. K translations of a sentence
                lie next to each other; K is 1 in training.
            memory: What ``encode`` made of the B sentences.
            state: The state after the call before, of these translations; None where they begin.
        """


TranslatorFactory = Callable[[int], Translator]
"""Builds a translator for a given ``input_size``. The type a task asks for."""


def select_state(state: State, rows: Tensor) -> State:
    """Gives the state of some translations.

    Args:
        state: That of N translations.
        rows: Which ones, (N',) int64; one may come several times.
    """
    return tuple(part.index_select(1, rows) for part in state)
