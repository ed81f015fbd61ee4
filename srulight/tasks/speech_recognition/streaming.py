"""Writing down what is said while it is heard."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srulight.encoders import Recurrent
from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.ctc.base import Decoder, Token
from srulight.tasks.speech_recognition.frame_buffer import FrameBuffer
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.layers.subsampling import Subsampling


class StreamingRecognizer:
    """Decodes one recording piece by piece, of whatever size; what is heard is not kept.

    The frames, the steps, the encoder's state and the decoder's go on from each piece to the next,
    so that all pieces together give what the whole recording gives.

    Args:
        frontend: Makes frames of sound.
        subsampling: Makes fewer steps of them.
        encoder: Reads the steps.
        head: Scores the tokens at each.
        decoder: Finds the tokens; a new one.

    Raises:
        InputError: If the frontend must hear a recording to its end, or makes no frames.
    """

    def __init__(
        self,
        frontend: Frontend,
        subsampling: Subsampling,
        encoder: Recurrent,
        head: nn.Linear,
        decoder: Decoder,
    ) -> None:
        bank = frontend.filter_bank
        if bank is None:
            raise InputError("a task that was trained with frames cannot listen to sound")
        if frontend.normalization == "utterance":
            raise InputError(
                "normalization=utterance needs a recording to its end; what listens along is "
                "trained with --data.normalization=global"
            )
        self.sample_rate: int = bank.sample_rate
        self._bank = bank
        self._frontend = frontend
        self._subsampling = subsampling
        self._encoder = encoder
        self._head = head
        self._decoder = decoder
        self._samples = FrameBuffer(bank.window, bank.shift)
        self._frames = FrameBuffer(subsampling.window, subsampling.shift)
        self._state: Tensor | None = None

    @property
    def delay(self) -> float:
        """How much sound a step needs beyond its beginning, in seconds: no answer is sooner."""
        frames = self._subsampling.window - 1
        return (frames * self._bank.shift + self._bank.window) / self.sample_rate

    @torch.no_grad()
    def hear(self, samples: Tensor | NDArray[np.floating[Any]]) -> None:
        """Goes on.

        Args:
            samples: The next ones, (N,) floats, -1 to 1, at ``sample_rate``.

        Raises:
            InputError: If they are no floats, or of more channels than one.
        """
        samples = torch.as_tensor(samples)
        if samples.dim() != 1 or not samples.is_floating_point():
            raise InputError(
                f"expected samples (N,) in floats, -1 to 1, got {tuple(samples.shape)} in "
                f"{samples.dtype}: take one channel, and divide 16-bit samples by 32768"
            )
        windows = self._samples(samples.float())
        if windows is None:
            return
        frames = self._frames(self._frontend.standardize(self._bank(windows)))
        if frames is None:
            return
        x, _ = self._subsampling(frames.unsqueeze(0).to(self._head.weight))
        encoded, self._state = self._encoder.forward_with_state(x, self._state)
        self._decoder.advance(self._head(encoded)[0].float().log_softmax(-1).cpu())

    def settled(self) -> list[Token]:
        """Gives the first tokens as far as nothing that comes can change them."""
        return self._decoder.tokens()[: self._decoder.settled()]

    def finish(self) -> list[Token]:
        """Gives all tokens, once everything was heard."""
        return self._decoder.finish()
