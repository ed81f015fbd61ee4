"""Loads the compiled kernels when an operator first runs on a device type.

No other module loads a library. Where a library cannot be built, the operators run the reference.
"""

import ctypes
import os
import threading
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch

from srulight.ops import build

SWITCH = "SRULIGHT_EXTENSION"
"""Environment variable: ``off`` runs the reference, without building or loading a library."""

_lock = threading.Lock()
_loaded: dict[str, bool] = {}
status: dict[str, str] = {}
"""Status of the library for each device type used so far, as text for reports."""


def load(device: str) -> bool:
    """Loads the kernels for a device type once per process, and builds them first if necessary.

    If that fails, it warns once, and the operators run the reference.

    Args:
        device: Device type, such as ``cpu`` or ``cuda``.

    Returns:
        Whether compiled kernels are loaded for this device type.
    """
    if device not in _loaded:
        with _lock:
            if device not in _loaded:
                _loaded[device] = _load(device)
    return _loaded[device]


def cpu_level() -> str:
    """Returns the instruction set of the CPU kernels in use, such as ``avx2``, or "" without them.

    This loads the kernels, and builds them first if necessary.
    """
    return status["cpu"].rpartition(", for ")[2] if load("cpu") else ""


class ChunkCounts(NamedTuple):
    """What the CPU kernels of this process have done in chunks of time so far.

    Attributes:
        passes: Passes over a sequence in one direction that were divided into chunks.
        chunks: Chunks whose start had to be guessed. Wide chunks count once per block of channels.
        repaired: Chunks, of these, whose guess was wrong or not used.
        numbers: Steps times channels in the passes that were divided.
        warmup: Steps times channels that were processed in order to guess.
        repairs: Steps times channels that were processed again, or later, because of wrong guesses.
    """

    passes: int
    chunks: int
    repaired: int
    numbers: int
    warmup: int
    repairs: int

    def since(self, earlier: "ChunkCounts") -> "ChunkCounts":
        """Returns what was done since earlier counts."""
        return ChunkCounts(*(now - then for now, then in zip(self, earlier, strict=True)))


def chunk_counts() -> ChunkCounts:
    """Returns what the CPU kernels have done in chunks, in a microsecond, without loading them."""
    found = (ctypes.c_int64 * len(ChunkCounts._fields))()
    if _count_chunks is not None:
        _count_chunks(found)
    return ChunkCounts(*found)


_count_chunks: Callable[[ctypes.Array[ctypes.c_int64]], None] | None = None


def _load(device: str) -> bool:
    global _count_chunks
    if os.environ.get(SWITCH, "").lower() == "off":
        status[device] = f"off ({SWITCH}=off): the PyTorch reference runs"
        return False
    try:
        if device not in build.RECIPES:
            raise build.BuildError(f"srulight has no kernels for {device}")
        library = build.library(device)
        torch.ops.load_library(library)
        status[device] = f"loaded from {library}"
        if device == "cpu":
            functions = ctypes.CDLL(str(library))
            level = functions.srulight_cpu_level
            level.restype = ctypes.c_char_p
            _count_chunks = getattr(functions, "srulight_time_counters", None)
            status[device] += f", for {level().decode()}"
    except (build.BuildError, OSError) as error:
        status[device] = f"not available: {error}"
        warnings.warn(
            f"SRU runs on the slower PyTorch reference ({device}): {error}; set {SWITCH}=off to "
            "silence this warning",
            stacklevel=4,
        )
        return False
    return True
