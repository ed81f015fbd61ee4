"""Streaming recognition: transcribes audio while it arrives."""

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
    """Transcribes one recording chunk by chunk.

    Chunks may have any size. The recognizer carries incomplete frames and steps, the state of the
    encoder and the state of the decoder from chunk to chunk, so the result equals that of the whole
    recording. It does not keep the samples.

    Args:
        frontend: Frontend that computes frames from samples.
        subsampling: Layer that turns frames into encoder steps.
        encoder: Recurrent encoder of the steps.
        head: Linear layer that scores the tokens at each step.
        decoder: Decoder that has not read any frames.

    Raises:
        InputError: If the frontend normalizes over whole utterances, or does not read audio.

    Attributes:
        sample_rate: Sample rate that ``accept`` expects, in Hz.
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
            raise InputError(
                "streaming needs a model that was trained on audio, got one that was trained on "
                "frames (.npy)"
            )
        if frontend.normalization == "utterance":
            raise InputError(
                "streaming needs normalization over the training data, got "
                "normalization='utterance'; train with --data.features.normalization=global"
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
        """Duration of the audio that one encoder step sees, in seconds; the minimal latency."""
        frames = self._subsampling.window - 1
        return (frames * self._bank.shift + self._bank.window) / self.sample_rate

    @torch.no_grad()
    def accept(self, samples: Tensor | NDArray[np.floating[Any]]) -> None:
        """Processes the next samples.

        Args:
            samples: Samples from -1 to 1 at ``sample_rate``, (N,) of any floating-point type.

        Raises:
            InputError: If the samples are not floats, or have several channels.
        """
        samples = torch.as_tensor(samples)
        if samples.dim() != 1 or not samples.is_floating_point():
            raise InputError(
                f"expected floats of shape (N,) from -1 to 1, got {samples.dtype} of shape "
                f"{tuple(samples.shape)}; select one channel, and divide 16-bit samples by 32768"
            )
        windows = self._samples(samples.float())
        if windows is None:
            return
        frames = self._frames(self._frontend.standardize(self._bank(windows)))
        if frames is None:
            return
        x, _ = self._subsampling(frames.unsqueeze(0).to(self._head.bias))
        encoded, self._state = self._encoder.forward_with_state(x, self._state)
        self._decoder.advance(self._head(encoded)[0].float().log_softmax(-1).cpu())

    def stable_tokens(self) -> list[Token]:
        """Returns the leading tokens that no later sample can change."""
        return self._decoder.tokens()[: self._decoder.num_stable()]

    def finish(self) -> list[Token]:
        """Returns all tokens. Call it after the last samples were accepted."""
        return self._decoder.finish()


class FrameBuffer:
    """Collects chunks of a sequence and returns the part that forms complete windows.

    Windows may overlap. The returned parts together contain each window of the whole sequence once,
    in order, regardless of how the sequence is cut into chunks. The time per chunk is proportional
    to its length. The buffer keeps a copy of less than one window.

    Args:
        window: Length of a window, in steps; at least 1.
        shift: Steps from the start of a window to the start of the next; at least 1. If it exceeds
            ``window``, the steps between windows are dropped.

    Raises:
        ValueError: If an argument is below 1.
    """

    def __init__(self, window: int, shift: int) -> None:
        if window < 1 or shift < 1:
            raise ValueError(f"window and shift must be at least 1, got {window} and {shift}")
        self.window = window
        self.shift = shift
        # Concatenated only once they fill a window, so that many short chunks cost no more than a
        # long one.
        self._kept: list[Tensor] = []
        self._length = 0
        self._skip = 0

    def __call__(self, piece: Tensor) -> Tensor | None:
        """Adds a chunk.

        Args:
            piece: The next steps of the sequence, (T, ...); T may be 0.

        Returns:
            The steps from the start of the first new window to the end of the last complete one,
            (T', ...); None if no window was completed.
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
        # A view would keep a long chunk in memory, and change if the caller reuses it.
        if len(steps):
            self._kept.append(steps.clone())
            self._length += len(steps)
