"""From sound to what a network reads of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from srulight.runtime.errors import InputError, check_range
from srulight.tasks.speech_recognition.frontend.audio import (
    Channels,
    change_speed,
    length_after_speed,
    read_audio,
    resampled_length,
)
from srulight.tasks.speech_recognition.frontend.filter_bank import FilterBank

Normalization = Literal["global", "utterance", "none"]

_LEAST = 1e-5  # Standard deviation of a feature that never changes.


@dataclass(frozen=True)
class FeatureSettings:
    """What frames are made of recordings.

    Args:
        sample_rate: Samples per second (Hz) that all recordings are resampled to; that of the
            first training recording if None.
        num_mels: Filters of the mel filter bank, which are the features of a frame; at least 1.
        frame_length: Duration of a frame in milliseconds.
        frame_shift: Milliseconds from the start of a frame to that of the next, of frames in files
            (.npy) too.
        normalization: How features are brought to mean 0 and variance 1: "global", over the
            training data; "utterance", over each utterance, which cannot be streamed; or "none".
        channels: Of a recording with several channels: "refuse" it, or take their mean ("mix").
    """

    sample_rate: int | None = None
    num_mels: int = 40
    frame_length: float = 25.0
    frame_shift: float = 10.0
    normalization: Normalization = "global"
    channels: Channels = "refuse"

    def __post_init__(self) -> None:
        check_range(1, sample_rate=self.sample_rate, num_mels=self.num_mels)
        check_range(0, frame_length=self.frame_length, frame_shift=self.frame_shift)

    def filter_bank(self, sample_rate: int) -> FilterBank:
        """Makes the filter bank.

        Args:
            sample_rate: That of the first training recording, in Hz.

        Raises:
            InputError: If the settings do not suit the sample rate.
        """
        rate = self.sample_rate or sample_rate
        return FilterBank(rate, self.num_mels, self.frame_length, self.frame_shift)


class Frontend:
    """Reads sound, and makes standardized frames of it.

    Args:
        filter_bank: Makes frames of samples; None if files hold frames already.
        channels: What to do with a file of more than one channel.
        normalization: Features are brought to mean 0 and variance 1 over all of the training data
            ("global") or over each utterance, whose end must be known ("utterance"); or left as
            they are ("none").
        mean: Mean of each feature over the training data, for "global".
        std: Standard deviation of each feature over the training data, for "global".
    """

    def __init__(
        self,
        filter_bank: FilterBank | None,
        channels: Channels,
        normalization: Normalization,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
    ) -> None:
        self.filter_bank = filter_bank
        self.channels: Channels = channels
        self.normalization: Normalization = normalization
        self._mean = torch.tensor(mean, dtype=torch.float32)
        self._std = torch.tensor(std, dtype=torch.float32)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Frontend":
        """Makes the one that has these ``settings``."""
        bank = settings["filter_bank"]
        rest = {name: value for name, value in settings.items() if name != "filter_bank"}
        return cls(None if bank is None else FilterBank(**bank), **rest)

    @property
    def settings(self) -> dict[str, Any]:
        """Plain data that the same can be made from."""
        return {
            "filter_bank": None if self.filter_bank is None else self.filter_bank.settings,
            "channels": self.channels,
            "normalization": self.normalization,
            "mean": self._mean.tolist(),
            "std": self._std.tolist(),
        }

    def with_statistics(self, mean: Tensor, std: Tensor) -> "Frontend":
        """Gives one that standardizes by the mean and standard deviation of each feature, (F,)."""
        return Frontend(
            self.filter_bank, self.channels, self.normalization, mean.tolist(), std.tolist()
        )

    def frames(self, audio: Sequence[Path], pause: float = 0.0, speed: float = 1.0) -> Tensor:
        """Makes frames of an utterance, not standardized.

        Args:
            audio: Files, one after the other; or one of frames.
            pause: Silence between two files, in seconds.
            speed: How many times as fast it is played.

        Returns:
            Frames, (T, F) float32.

        Raises:
            InputError: If a file is not what it should be.
        """
        if self.filter_bank is None:
            return read_frames(audio[0])
        return self.filter_bank(change_speed(self.samples(audio, pause), speed))

    def samples(self, audio: Sequence[Path], pause: float = 0.0) -> Tensor:
        """Reads the sound of an utterance.

        Args:
            audio: Files, one after the other.
            pause: Silence between two files, in seconds.

        Returns:
            Samples, (N,) float32, at the rate of the filter bank.

        Raises:
            InputError: If a file is not what it should be.
        """
        assert self.filter_bank is not None
        rate = self.filter_bank.sample_rate
        silence = torch.zeros(round(pause * rate))
        parts: list[Tensor] = []
        for path in audio:
            parts += [silence, read_audio(path, rate, self.channels)]
        return torch.cat(parts[1:])

    def num_frames(
        self, samples: Sequence[tuple[int, int]], pause: float = 0.0, speed: float = 1.0
    ) -> int:
        """Counts the frames that ``frames`` makes.

        Args:
            samples: Samples and sample rate (Hz) of each file.
            pause: Silence between two files, in seconds.
            speed: How many times as fast it is played.
        """
        assert self.filter_bank is not None
        rate = self.filter_bank.sample_rate
        total = sum(resampled_length(count, own, rate) for count, own in samples)
        total += round(pause * rate) * (len(samples) - 1)
        return self.filter_bank.num_frames(length_after_speed(total, speed))

    def standardize(self, frames: Tensor) -> Tensor:
        """Brings the features of an utterance's frames, (T, F), to mean 0 and variance 1."""
        if self.normalization == "none":
            return frames
        if self.normalization == "global":
            return (frames - self._mean) / self._std
        std, mean = torch.std_mean(frames, 0, correction=0)
        return (frames - mean) / std.clamp_min(_LEAST)


def read_frames(path: Path) -> Tensor:
    """Reads frames from a file.

    Args:
        path: A file of NumPy's, (T, F) of a float type.

    Raises:
        InputError: If it is not that.
    """
    try:
        # Mapped, so that a file takes the memory that it has numbers for, whatever its header says.
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there") from error
    except (OSError, ValueError, EOFError, OverflowError, RecursionError, MemoryError) as error:
        raise InputError(f"{path} is not a whole file of NumPy's: {error}") from error
    if array.ndim != 2 or array.dtype.kind != "f" or 0 in array.shape:
        raise InputError(
            f"{path}: expected frames, (T, F) of a float type; got {array.shape} of {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{path} has numbers that are not finite")
    return torch.from_numpy(array.astype(np.float32))
