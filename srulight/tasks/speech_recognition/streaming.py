"""Recognition of a recording while it comes in."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srulight.encoders import Recurrent
from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.ctc.base import Decoder, Token
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.layers.subsampling import Subsampling


class StreamingRecognizer:
    """Decodes one recording piece by piece, of whatever size; samples are not kept.

    The frames, the steps, the encoder's state and the decoder's go on from each piece to the next,
    so that all pieces together give what the whole recording gives.

    Args:
        frontend: Makes frames of samples.
        subsampling: Makes fewer steps of them.
        encoder: Reads the steps.
        head: Scores the tokens at each step.
        decoder: Finds the tokens; a new one.

    Raises:
        InputError: If the frontend needs a recording to its end, or makes no frames.
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
                "normalization=utterance needs a recording to its end; a model to stream with is "
                "trained with --data.features.normalization=global"
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
        """How much sound a step needs beyond its beginning, in seconds: no result is sooner."""
        frames = self._subsampling.window - 1
        return (frames * self._bank.shift + self._bank.window) / self.sample_rate

    @torch.no_grad()
    def accept(self, samples: Tensor | NDArray[np.floating[Any]]) -> None:
        """Reads the next samples.

        Args:
            samples: Samples, (N,) floats, -1 to 1, at ``sample_rate``.

        Raises:
            InputError: If they are no floats, or of several channels.
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

    def stable_tokens(self) -> list[Token]:
        """Gives the first tokens, as far as no later sample can change them."""
        return self._decoder.tokens()[: self._decoder.num_stable()]

    def finish(self) -> list[Token]:
        """Gives all tokens, once the last samples were accepted."""
        return self._decoder.finish()


class FrameBuffer:
    """Collects pieces of a sequence and hands on what forms whole windows, which may overlap.

    Cut into windows, what it hands on gives each window of the whole sequence once, in order,
    however the sequence came in pieces. A piece costs time in proportion to its length, and less
    than one window is kept, as a copy.

    Args:
        window: Steps that a window sees, at least 1.
        shift: Steps from the start of a window to the start of the next, at least 1; more than
            ``window`` leaves out steps that no window sees.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, window: int, shift: int) -> None:
        if window < 1 or shift < 1:
            raise ValueError(f"window and shift must be at least 1, got {window} and {shift}")
        self.window = window
        self.shift = shift
        # Joined only when they fill a window, so that many short pieces cost no more than a long.
        self._kept: list[Tensor] = []
        self._length = 0
        self._skip = 0

    def __call__(self, piece: Tensor) -> Tensor | None:
        """Adds a piece.

        Args:
            piece: The next steps of the sequence, (T, ...), T from 0.

        Returns:
            From the start of the first window that was not handed on to the end of the last whole
            one, (T', ...); None if no window became whole.
        """
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        piece = piece[skipped:]
        length = self._length + len(piece)
        if length < self.window:
            self._keep(piece)
            return None
        steps = torch.cat([*self._kept, piece]) if self._kept else piece
        count = (length - self.window) // self.shift + 1
        following = count * self.shift
        self._skip = max(following - length, 0)
        self._kept = []
        self._length = 0
        self._keep(steps[following:])
        return steps[: following - self.shift + self.window]

    def _keep(self, steps: Tensor) -> None:
        # A view would hold all of a long piece, and change with it.
        if len(steps):
            self._kept.append(steps.clone())
            self._length += len(steps)
