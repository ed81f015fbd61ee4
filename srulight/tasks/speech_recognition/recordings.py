"""Inspection of the recordings of a corpus before training."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from srulight.runtime.cache import cache_key, cached_json
from srulight.runtime.errors import InputError
from srulight.runtime.progress import progress
from srulight.tasks.speech_recognition.frontend.audio import Channels, inspect
from srulight.tasks.speech_recognition.frontend.frontend import read_frames

_VERSION = 2  # Format of the cached file; increase it when its contents change.
_FEW = 200  # Up to this many recordings need no progress bar.


class Recording(NamedTuple):
    """Properties of an audio file, or of a file of frames (.npy).

    Attributes:
        samples: Number of samples; for a file of frames, number of frames.
        sample_rate: Samples per second (Hz); for a file of frames, number of features per frame.
        sha256: Checksum of the file.
        fault: Why the file cannot be used; empty if it can.
    """

    samples: int
    sample_rate: int
    sha256: str
    fault: str = ""


def inspect_recordings(paths: Iterable[Path], channels: Channels) -> dict[Path, Recording]:
    """Decodes all files and caches the result until one of them changes.

    Args:
        paths: The files.
        channels: What to do with a file of several channels: "refuse" it, or "mix" them.

    Returns:
        The properties of each file.
    """
    files = sorted(set(paths))
    states = [_state(path) for path in files]
    key = cache_key(_VERSION, channels, states)
    rows = cached_json("recordings", key, lambda: _inspect_all(files, channels))
    return {path: Recording(*row) for path, row in zip(files, rows, strict=True)}


def _inspect_all(files: list[Path], channels: Channels) -> list[Recording]:
    # Threads suffice: libsndfile and hashlib release the global interpreter lock.
    with ThreadPoolExecutor() as threads:
        found = threads.map(lambda path: _inspect(path, channels), files)
        return list(progress(found, "reading the recordings", len(files), _FEW))


def _state(path: Path) -> tuple[str, int, int]:
    """Returns the path, size and modification time, which reveal a changed file."""
    try:
        status = path.stat()
    except OSError:
        return str(path.absolute()), -1, -1
    return str(path.absolute()), status.st_size, status.st_mtime_ns


def _inspect(path: Path, channels: Channels) -> Recording:
    try:
        if path.suffix == ".npy":
            frames, num_mels = read_frames(path).shape
            return Recording(frames, num_mels, hashlib.sha256(path.read_bytes()).hexdigest())
        return Recording(*inspect(path, channels))
    except InputError as error:
        return Recording(0, 0, "", str(error))
