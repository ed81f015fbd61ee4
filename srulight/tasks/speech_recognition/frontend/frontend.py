"""Audio frontend: from audio files to standardized feature frames."""

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

_LEAST = 1e-5  # Lower bound of the standard deviation, for features that never change.


@dataclass(frozen=True)
class FeatureSettings:
    """Settings of the features that are computed from recordings.

    Args:
        sample_rate: Sample rate in Hz to which all recordings are resampled. None means the rate of
            the first usable training recording.
        num_mels: Number of mel filters, which is the number of features per frame; at least 1.
        frame_length: Duration of a frame, in milliseconds.
        frame_shift: Time from the start of one frame to the start of the next, in milliseconds. If
            the corpus has files of frames (.npy), set it to their frame shift.
        normalization: How features are standardized to mean 0 and variance 1: "global", with
            statistics of the training data; "utterance", with those of each utterance, which rules
            out streaming; or "none".
        channels: What to do with a recording of several channels: "refuse" it, or "mix" the
            channels by taking their mean.
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
        """Builds the filter bank.

        Args:
            sample_rate: Sample rate to use if the settings have none, in Hz.

        Returns:
            The filter bank.

        Raises:
            InputError: If the settings do not fit the sample rate.
        """
        rate = self.sample_rate or sample_rate
        return FilterBank(rate, self.num_mels, self.frame_length, self.frame_shift)


class Frontend:
    """Reads audio and computes standardized frames.

    Args:
        filter_bank: Filter bank that computes frames from samples. None means that the files
            contain frames already.
        channels: What to do with a recording of several channels: "refuse" it, or "mix" them.
        normalization: How features are standardized to mean 0 and variance 1: "global", with
            ``mean`` and ``std``; "utterance", with the statistics of each utterance; or "none".
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
        """Builds a frontend from the ``settings`` of another."""
        bank = settings["filter_bank"]
        rest = {name: value for name, value in settings.items() if name != "filter_bank"}
        return cls(None if bank is None else FilterBank(**bank), **rest)

    @property
    def settings(self) -> dict[str, Any]:
        """All arguments as plain data, from which ``from_settings`` builds an equal frontend."""
        return {
            "filter_bank": None if self.filter_bank is None else self.filter_bank.settings,
            "channels": self.channels,
            "normalization": self.normalization,
            "mean": self._mean.tolist(),
            "std": self._std.tolist(),
        }

    def with_statistics(self, mean: Tensor, std: Tensor) -> "Frontend":
        """Returns a copy with another mean and standard deviation of each feature, both (F,)."""
        return Frontend(
            self.filter_bank, self.channels, self.normalization, mean.tolist(), std.tolist()
        )

    def frames(self, audio: Sequence[Path], pause: float = 0.0, speed: float = 1.0) -> Tensor:
        """Computes the frames of an utterance, without standardizing them.

        Args:
            audio: Audio files, played one after the other; or one file of frames.
            pause: Silence between two files, in seconds.
            speed: Playback speed; 1 is the original.

        Returns:
            Frames, (T, F) float32.

        Raises:
            InputError: If a file cannot be read.
        """
        if self.filter_bank is None:
            return read_frames(audio[0])
        return self.filter_bank(change_speed(self.samples(audio, pause), speed))

    def samples(self, audio: Sequence[Path], pause: float = 0.0) -> Tensor:
        """Reads the samples of an utterance.

        Args:
            audio: Audio files, played one after the other.
            pause: Silence between two files, in seconds.

        Returns:
            Samples at the sample rate of the filter bank, (N,) float32.

        Raises:
            InputError: If a file cannot be read.
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
        """Counts the frames that ``frames`` computes, without reading any file.

        Args:
            samples: Number of samples and sample rate (Hz) of each file.
            pause: Silence between two files, in seconds.
            speed: Playback speed; 1 is the original.

        Returns:
            Number of frames.
        """
        assert self.filter_bank is not None
        rate = self.filter_bank.sample_rate
        total = sum(resampled_length(count, own, rate) for count, own in samples)
        total += round(pause * rate) * (len(samples) - 1)
        return self.filter_bank.num_frames(length_after_speed(total, speed))

    def standardize(self, frames: Tensor) -> Tensor:
        """Standardizes the frames of an utterance, (T, F), according to ``normalization``."""
        if self.normalization == "none":
            return frames
        if self.normalization == "global":
            return (frames - self._mean) / self._std
        std, mean = torch.std_mean(frames, 0, correction=0)
        return (frames - mean) / std.clamp_min(_LEAST)


def read_frames(path: Path) -> Tensor:
    """Reads frames from a file.

    Args:
        path: A NumPy file (.npy) with an array of shape (T, F) and a floating-point type.

    Returns:
        Frames, (T, F) float32.

    Raises:
        InputError: If the file is missing, or contains anything else.
    """
    try:
        # Mapped, so that a false size in the header cannot exhaust the memory.
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a file of frames, got none") from error
    except (OSError, ValueError, EOFError, OverflowError, RecursionError, MemoryError) as error:
        raise InputError(f"{path}: expected a complete NumPy file, got: {error}") from error
    if array.ndim != 2 or array.dtype.kind != "f" or 0 in array.shape:
        raise InputError(
            f"{path}: expected floats of shape (T, F), got {array.dtype} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{path}: expected finite numbers, got infinity or NaN")
    return torch.from_numpy(array.astype(np.float32))
