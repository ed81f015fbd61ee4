"""Loads the compiled kernels when an operator first runs on a device type.

No other module loads a library. Where a library cannot be built, the operators run the reference.
"""

import ctypes
import os
import threading
import warnings

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
        if device == "cpu":
            level = ctypes.CDLL(str(library)).srulight_cpu_level
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
