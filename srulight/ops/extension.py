"""Loads the compiled kernels when an operator first runs on a kind of device.

The only module that touches the libraries. Where one cannot be built, the operators run on the
reference.
"""

import ctypes
import os
import threading
import warnings

import torch

from srulight.ops import build

SWITCH = "SRULIGHT_EXTENSION"
"""Environment variable: ``off`` runs the reference, and builds and loads nothing."""

_lock = threading.Lock()
_loaded: dict[str, bool] = {}
status: dict[str, str] = {}
"""What became of the library of each kind of device that was used, in words, for reports."""


def load(device: str) -> bool:
    """Loads the kernels once per process, building them if this machine has not yet.

    Warns once, and leaves the operators on the reference, if that cannot be done.

    Args:
        device: Kind of device: ``cpu``, ``cuda``, ...

    Returns:
        Whether this kind of device has compiled kernels now.
    """
    if device not in _loaded:
        with _lock:
            if device not in _loaded:
                _loaded[device] = _load(device)
    return _loaded[device]


def _load(device: str) -> bool:
    if os.environ.get(SWITCH, "").lower() == "off":
        status[device] = f"off ({SWITCH}=off): the PyTorch reference runs"
        return False
    try:
        if device not in build.RECIPES:
            raise build.BuildError(f"there are no kernels for {device}.")
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
            f"SRU runs on the slower PyTorch reference ({device}): {error} "
            f"Set {SWITCH}=off to accept this silently.",
            stacklevel=4,
        )
        return False
    return True
