"""The most probable token of each frame."""

import torch
from torch import Tensor

from srulight.tasks.speech_recognition.ctc.base import BLANK, Decoder, Token, check_frames


class Greedy(Decoder):
    """Takes the most probable token of each frame, and the first of equals.

    Graves et al. (2006), Connectionist Temporal Classification, ICML, section 3.2, best path
    decoding: equal tokens in a row are one, then blanks are dropped. All tokens are stable at once;
    only the end of the last moves while its run goes on.
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
