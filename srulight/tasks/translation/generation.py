"""Writing a sentence in another language: token by token, and then as text."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from srulight.tasks.translation.beam_search import Hypothesis, Writer
from srulight.tasks.translation.models.base import Decoded, Memory, State, select_state
from srulight.text.line_tokenizers import UNKNOWN_ID, Tokenizer


class Translated(NamedTuple):
    """A sentence in another language.

    Attributes:
        text: The translation.
        score: What the search ranks it by, penalties included.
        log_probability: Natural logarithm of its probability.
        tokens: Its tokens, as texts, and the end.
        source_tokens: The tokens of the sentence, as texts, and the end.
        attention: Where each of ``tokens`` came from, (T, S), each row with a sum of 1.
    """

    text: str
    score: float
    log_probability: float
    tokens: list[str]
    source_tokens: list[str]
    attention: Tensor


class SentenceWriter(Writer):
    """Sentences under way.

    Args:
        decode: Reads the next tokens of translations: token ids, (N, T) int64; the sentences; and
            the state, None before the first token.
        head: Scores the tokens to come.
        memory: The sentences.
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


def translated(
    text: str, found: Hypothesis, source: Tokenizer, target: Tokenizer, replace_unknown: bool
) -> Translated:
    """Makes text of what was found for a sentence.

    Args:
        text: The sentence.
        found: Its translation.
        source: What made tokens of the sentence.
        target: What the tokens of the translation are of.
        replace_unknown: Whether a token that stands for an unknown word becomes the source token
            that was looked at most.
    """
    tokens = [target.tokens[index] for index in found.tokens]
    source_tokens = source.split(text)
    if replace_unknown:
        for place, index in enumerate(found.tokens):
            if index == UNKNOWN_ID and source_tokens:
                # The end of the sentence is no word.
                looked = found.attention[place, : len(source_tokens)]
                tokens[place] = source_tokens[int(looked.argmax())]
    return Translated(
        target.join(tokens), found.score, found.log_probability, tokens, source_tokens,
        found.attention,
    )  # fmt: skip
