"""Frames of utterances: made when they are asked for, or once, in a file that is mapped."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock
from rich.console import Console
from rich.progress import track
from torch import Tensor

from srulight.cache import cache_folder
from srulight.errors import InputError
from srulight.frontend import Frontend
from srulight.storage import written

_VERSION = 1  # Of the files below; raised when what they hold changes.
_SAMPLE = 500  # Utterances that mean and variance are taken of.


class Sound(NamedTuple):
    """An utterance as it is played.

    Attributes:
        audio: Files, heard one after the other.
        pause: Silence between two files, in seconds.
        speed: How many times as fast it is played.
        content: Checksums of the files.
    """

    audio: tuple[Path, ...]
    pause: float
    speed: float
    content: tuple[str, ...]


class Frames(ABC):
    """Frames of utterances, not standardised."""

    @abstractmethod
    def get(self, index: int) -> Tensor:
        """Gives those of an utterance, (T, F) float32."""


class Fresh(Frames):
    """Made each time.

    Args:
        sounds: The utterances.
        frontend: What makes the frames.
    """

    def __init__(self, sounds: Sequence[Sound], frontend: Frontend) -> None:
        self._sounds = sounds
        self._frontend = frontend

    def get(self, index: int) -> Tensor:
        sound = self._sounds[index]
        return self._frontend.frames(sound.audio, sound.pause, sound.speed)


class Kept(Frames):
    """Made once, one utterance behind the other in a file that is mapped into memory.

    Args:
        sounds: The utterances.
        frontend: What makes the frames.
        lengths: Frames of each utterance, (N,) int64.
        bands: Features of a frame, F.
        name: What the progress bar calls them.
    """

    def __init__(
        self, sounds: Sequence[Sound], frontend: Frontend, lengths: Tensor, bands: int, name: str
    ) -> None:
        path = cache_folder() / "frames" / f"{_key(sounds, frontend)}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                _write(path, Fresh(sounds, frontend), lengths.tolist(), name)
        self._starts = (lengths.cumsum(0) - lengths).tolist()
        self._lengths = lengths.tolist()
        size = int(lengths.sum()) * bands
        mapped = torch.from_file(str(path), shared=False, size=size, dtype=torch.float32)
        self._frames = mapped.view(-1, bands)

    def get(self, index: int) -> Tensor:
        start = self._starts[index]
        return self._frames[start : start + self._lengths[index]]


def _write(path: Path, frames: Fresh, lengths: Sequence[int], name: str) -> None:
    for left in path.parent.glob(f".{path.name}.*.part"):  # of a process that was killed
        left.unlink(missing_ok=True)
    with written(path) as part, part.open("wb") as file:
        for index, length in enumerate(_shown(lengths, f"making the frames of {name}")):
            made = frames.get(index)
            if len(made) != length:
                raise InputError(f"{path}: a recording changed while its frames were made")
            file.write(made.numpy().tobytes())


def statistics(sounds: Sequence[Sound], frontend: Frontend) -> tuple[Tensor, Tensor]:
    """Measures the mean and the standard deviation of each band, (F,) both, once.

    Args:
        sounds: The training utterances; some hundreds of them, evenly spread, are measured.
        frontend: What makes the frames.
    """
    chosen = [sounds[i * len(sounds) // _SAMPLE] for i in range(_SAMPLE)]
    chosen = chosen if len(sounds) > _SAMPLE else list(sounds)
    path = cache_folder() / "frames" / f"{_key(chosen, frontend)}.json"
    if not path.is_file():
        fresh = Fresh(chosen, frontend)
        total, squares, count = torch.zeros(()), torch.zeros(()), 0
        for index in _shown(range(len(chosen)), "measuring the bands"):
            frames = fresh.get(index).double()
            total = total + frames.sum(0)
            squares = squares + frames.square().sum(0)
            count += len(frames)
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(1e-10).sqrt()
        with written(path) as part:
            part.write_text(json.dumps([mean.tolist(), std.tolist()]), encoding="utf-8")
    mean, std = map(torch.tensor, json.loads(path.read_text(encoding="utf-8")))
    return mean, std


def _shown(items: Sequence[int], text: str) -> "Sequence[int]":
    console = Console(stderr=True)
    return track(items, text, console=console, transient=True, disable=len(items) < 200)  # type: ignore[return-value]


def _key(sounds: Sequence[Sound], frontend: Frontend) -> str:
    """Names what is made by all that goes into it."""
    bank = frontend.settings["filter_bank"]
    played = [(sound.content, sound.pause, sound.speed) for sound in sounds]
    recipe = json.dumps([_VERSION, bank, frontend.channels, played])
    return hashlib.sha256(recipe.encode()).hexdigest()[:24]
