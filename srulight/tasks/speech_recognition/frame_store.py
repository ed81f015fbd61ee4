"""Feature frames of utterances, computed on the fly or cached in a memory-mapped file."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from srulight.runtime.cache import cache_key, cached, cached_json
from srulight.runtime.errors import InputError
from srulight.runtime.progress import progress
from srulight.tasks.speech_recognition.frontend.frontend import Frontend

_VERSION = 1  # Format of the cached files; increase it when their contents change.
_FRAMES = "frames.bin"
_SAMPLE = 500  # Number of utterances from which mean and variance are estimated.
_FEW = 200  # Up to this many utterances need no progress bar.


class Sound(NamedTuple):
    """The audio of an utterance, and how it is played.

    Attributes:
        audio: Files, played one after the other.
        pause: Silence between two files, in seconds.
        speed: Playback speed; 1 is the original.
        content: SHA-256 checksums of the files.
    """

    audio: tuple[Path, ...]
    pause: float
    speed: float
    content: tuple[str, ...]


class Frames(ABC):
    """Access to the frames of utterances, before standardization."""

    @abstractmethod
    def get(self, index: int) -> Tensor:
        """Returns the frames of an utterance, (T, F) float32."""


class ComputedFeatures(Frames):
    """Frames that are computed on the fly.

    Args:
        sounds: The utterances.
        frontend: Frontend that computes the frames.
    """

    def __init__(self, sounds: Sequence[Sound], frontend: Frontend) -> None:
        self._sounds = sounds
        self._frontend = frontend

    def get(self, index: int) -> Tensor:
        sound = self._sounds[index]
        return self._frontend.frames(sound.audio, sound.pause, sound.speed)


class CachedFeatures(Frames):
    """Frames that are computed once and kept in a memory-mapped file.

    Args:
        sounds: The utterances.
        frontend: Frontend that computes the frames.
        lengths: Number of frames of each utterance, (N,) int64.
        num_mels: Number of features per frame, F.
        name: Name of the split, for the progress bar.
    """

    def __init__(
        self, sounds: Sequence[Sound], frontend: Frontend, lengths: Tensor, num_mels: int, name: str
    ) -> None:
        make = partial(_write, ComputedFeatures(sounds, frontend), lengths.tolist(), name)
        path = cached("frames", _key(sounds, frontend), make) / _FRAMES
        self._starts = (lengths.cumsum(0) - lengths).tolist()
        self._lengths = lengths.tolist()
        size = int(lengths.sum()) * num_mels
        mapped = torch.from_file(str(path), shared=False, size=size, dtype=torch.float32)
        self._frames = mapped.view(-1, num_mels)

    def get(self, index: int) -> Tensor:
        start = self._starts[index]
        return self._frames[start : start + self._lengths[index]]


def _write(frames: ComputedFeatures, lengths: Sequence[int], name: str, folder: Path) -> None:
    text = f"computing the frames of {name}"
    with (folder / _FRAMES).open("wb") as file:
        for index, length in enumerate(progress(lengths, text, len(lengths), _FEW)):
            made = frames.get(index)
            if len(made) != length:
                raise InputError(
                    f"expected {length:,} frames from a recording of {name}, got {len(made):,}: "
                    "the file changed while srulight read it; start again"
                )
            file.write(made.numpy().tobytes())


def statistics(sounds: Sequence[Sound], frontend: Frontend) -> tuple[Tensor, Tensor]:
    """Measures the mean and the standard deviation of each feature, and caches them.

    Args:
        sounds: The training utterances. If there are more than 500, an evenly spaced sample of 500
            is measured.
        frontend: Frontend that computes the frames.

    Returns:
        Mean and standard deviation, both (F,).
    """
    chosen = [sounds[i * len(sounds) // _SAMPLE] for i in range(_SAMPLE)]
    chosen = chosen if len(sounds) > _SAMPLE else list(sounds)

    def measure() -> list[list[float]]:
        measured = _measure(ComputedFeatures(chosen, frontend), len(chosen))
        return [values.tolist() for values in measured]

    mean, std = map(torch.tensor, cached_json("statistics", _key(chosen, frontend), measure))
    return mean, std


def _measure(frames: ComputedFeatures, size: int) -> tuple[Tensor, Tensor]:
    total, squares, count = torch.zeros(()), torch.zeros(()), 0
    for index in progress(range(size), "measuring the features", size, _FEW):
        made = frames.get(index).double()
        total = total + made.sum(0)
        squares = squares + made.square().sum(0)
        count += len(made)
    mean = total / count
    return mean, (squares / count - mean.square()).clamp_min(1e-10).sqrt()


def _key(sounds: Sequence[Sound], frontend: Frontend) -> str:
    """Returns a cache key of everything that the frames depend on."""
    bank = frontend.settings["filter_bank"]
    played = [(sound.content, sound.pause, sound.speed) for sound in sounds]
    return cache_key(_VERSION, bank, frontend.channels, played)
