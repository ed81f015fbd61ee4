"""Listening to all recordings of a corpus before training, once."""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from srulight.runtime.cache import cached
from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.frontend.audio import Channels, inspect
from srulight.tasks.speech_recognition.frontend.frontend import read_frames

_VERSION = 2  # Of the file; raised when what it holds changes.
_SMALL = 200  # Recordings that are heard before anyone asks how far it is.


class Recording(NamedTuple):
    """What is known of a file of sound, or of frames (.npy).

    Attributes:
        samples: How many; frames, of a file of frames.
        sample_rate: Samples per second; bands, of a file of frames.
        sha256: Checksum of the file.
        fault: Why it cannot be used; empty if it can.
    """

    samples: int
    sample_rate: int
    sha256: str
    fault: str = ""


def listen(paths: Iterable[Path], channels: Channels) -> dict[Path, Recording]:
    """Listens to files, unless they have not changed since this was done before.

    Args:
        paths: The files.
        channels: What to do with a file of more than one channel.
    """
    files = sorted(set(paths))
    states = [_state(path) for path in files]
    key = hashlib.sha256(json.dumps([_VERSION, channels, states]).encode()).hexdigest()[:24]

    def make(folder: Path) -> None:
        found = json.dumps(_hear(files, channels))
        (folder / "recordings.json").write_text(found, encoding="utf-8")

    path = cached("recordings", key, make) / "recordings.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    return {path: Recording(*row) for path, row in zip(files, rows, strict=True)}


def _hear(files: list[Path], channels: Channels) -> list[Recording]:
    # libsndfile and the checksum leave other threads run.
    with ThreadPoolExecutor() as threads:
        found = threads.map(lambda path: _listen(path, channels), files)
        return list(
            track(
                found,
                "listening to the recordings",
                total=len(files),
                console=Console(stderr=True),
                transient=True,
                disable=len(files) < _SMALL,
            )
        )


def _state(path: Path) -> tuple[str, int, int]:
    """Tells whether a file may have changed."""
    try:
        status = path.stat()
    except OSError:
        return str(path.absolute()), -1, -1
    return str(path.absolute()), status.st_size, status.st_mtime_ns


def _listen(path: Path, channels: Channels) -> Recording:
    try:
        if path.suffix == ".npy":
            frames, num_mels = read_frames(path).shape
            return Recording(frames, num_mels, hashlib.sha256(path.read_bytes()).hexdigest())
        return Recording(*inspect(path, channels))
    except InputError as error:
        return Recording(0, 0, "", str(error))
