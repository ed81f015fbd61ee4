"""Greedy decoding."""

import torch
from torch import Tensor

from srulight.tasks.speech_recognition.ctc.base import BLANK, Decoder, Token, check_frames


class Greedy(Decoder):
    """Greedy decoding, which takes the most probable token of each frame.

    Best path decoding of Graves et al. (2006), Connectionist Temporal Classification, ICML, section
    3.2: equal tokens in a row are merged, then blanks are dropped. Of equally probable tokens, the
    first wins. All tokens are stable immediately; only the end of the last one can still change.
    """

    def __init__(self) -> None:
        self._tokens: list[Token] = []
        self._last = BLANK
        self._frames = 0

    def advance(self, log_probs: Tensor) -> None:
        check_frames(log_probs)
        if not len(log_probs):
            return
        indices, counts = torch.unique_consecutive(log_probs.argmax(1), return_counts=True)
        ends = counts.cumsum(0) + self._frames
        for index, start, end in torch.stack([indices, ends - counts, ends], 1).tolist():
            if index != BLANK and index == self._last:
                start = self._tokens.pop().start
            if index != BLANK:
                self._tokens.append(Token(index, start, end))
            self._last = index
        self._frames += len(log_probs)

    def tokens(self) -> list[Token]:
        return list(self._tokens)

    def num_stable(self) -> int:
        return len(self._tokens)

    def finish(self) -> list[Token]:
        return self.tokens()
