"""Loads the compiled kernels when an operator first runs on a device type.

No other module loads a library. Where a library cannot be built, the operators run the reference.
"""

import ctypes
import os
import threading
import warnings
from functools import cache
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


FUSED = "SRULIGHT_FUSED"
"""Environment variable: ``on`` runs layers of half types and of float32 through the kernel that
fuses product and recurrence on a CPU; ``off`` runs none. Without it, the processor decides."""

_FUSED_TYPES = (torch.float32, torch.bfloat16, torch.float16)


@cache
def fuses(dtype: torch.dtype) -> bool:
    """Returns whether CPU layers of a dtype run through the fused kernel.

    This loads the kernels, and builds them first if necessary.

    Args:
        dtype: Dtype of the inputs and of the weight.
    """
    if dtype not in _FUSED_TYPES or not load("cpu"):
        return False
    function = getattr(_libraries["cpu"], "srulight_fuses", None)
    return bool(function and function(_FUSED_TYPES.index(dtype)))


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
    """Returns what the loaded kernels have done in chunks, on the CPU and on all GPUs.

    This takes a microsecond, unless a GPU has processed chunks, in which case it waits for that
    GPU. A GPU counts a row once per tile of 32 channels, and a chunk each time that it is processed
    again.
    """
    total = [0] * len(ChunkCounts._fields)
    for library in _libraries.values():
        found = (ctypes.c_int64 * len(total))()
        if count := getattr(library, "srulight_time_counters", None):
            count(found)
        total = [a + b for a, b in zip(total, found, strict=True)]
    return ChunkCounts(*total)


_libraries: dict[str, ctypes.CDLL] = {}
"""The loaded libraries; a prebuilt one of an earlier version lacks some functions."""


def _load(device: str) -> bool:
    if os.environ.get(SWITCH, "").lower() == "off":
        status[device] = f"off ({SWITCH}=off): the PyTorch reference runs"
        return False
    try:
        if device not in build.RECIPES:
            raise build.BuildError(f"srulight has no kernels for {device}")
        library = build.library(device)
        torch.ops.load_library(library)
        status[device] = f"loaded from {library}"
        _libraries[device] = ctypes.CDLL(str(library))
        if device == "cpu":
            level = _libraries[device].srulight_cpu_level
            level.restype = ctypes.c_char_p
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
