"""Decodes translations token by token."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from srulight.tasks.translation.beam_search import IncrementalDecoder
from srulight.tasks.translation.models.base import Decoded, Memory, State, select_state


class PredictedTranslation(NamedTuple):
    """A predicted translation of a sentence.

    Attributes:
        text: The translation.
        score: Score by which beam search ranks it, including the penalties.
        log_probability: Natural logarithm of its probability.
        tokens: Tokens of the translation, without the end token.
        source_tokens: Tokens of the source sentence, without the end token.
        attention: Attention weights of each token of the translation over the source tokens and
            their end token, (T, S) float32; each row sums to 1.
    """

    text: str
    score: float
    log_probability: float
    tokens: list[str]
    source_tokens: list[str]
    attention: Tensor


class TranslationDecoder(IncrementalDecoder):
    """Decodes the translations of a batch of sentences.

    Args:
        decode: Function that feeds tokens to the decoder. It takes token ids, (N, T) int64, the
            encoded sentences, and the decoder state, which is None before the first token.
        head: Layer that computes the logits of the next token.
        memory: Encoded source sentences.
    """

    def __init__(
        self,
        decode: Callable[[Tensor, Memory, State | None], Decoded],
        head: nn.Linear,
        memory: Memory,
    ) -> None:
        self._decode = decode
        self._head = head
        self._memory = memory
        self._state: State | None = None

    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        decoded = self._decode(tokens.unsqueeze(1), self._memory, self._state)
        self._state = decoded.state
        logits = self._head(decoded.features[:, 0])
        return logits.float().log_softmax(-1), decoded.attention[:, 0]

    def reorder(self, rows: Tensor) -> None:
        assert self._state is not None
        self._state = select_state(self._state, rows)

    def keep(self, sequences: Tensor) -> None:
        assert self._state is not None
        rows = torch.arange(self._state[0].size(1), device=sequences.device)
        rows = rows.view(len(self._memory.valid), -1)[sequences].flatten()
        self._state = select_state(self._state, rows)
        self._memory = self._memory.select(sequences)
