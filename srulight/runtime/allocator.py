"""Tunes the memory allocator for large tensors on CPU."""

import ctypes
import os
import sys

SWITCH = "SRULIGHT_MEMORY"
"""Environment variable; ``off`` leaves the allocator unchanged."""

# Constants from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4


def tune_allocator() -> bool:
    """Makes this process keep the memory that it frees, and requests huge pages.

    By default, glibc returns every block above 32 MB to the system as soon as it is freed, and the
    next tensor of that size takes a page fault for each of its pages. On CPU, this can take longer
    than the computation itself. The command line calls this function when it starts. A program
    that imports srulight can call it before anything else; it then holds on to the largest amount
    of memory that it has ever used. Only glibc on Linux is affected.

    Returns:
        Whether the allocator accepted the settings.
    """
    if os.environ.get(SWITCH, "").lower() == "off" or not sys.platform.startswith("linux"):
        return False
    # torch reads this variable on its first allocation.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has no mallopt
    if mallopt is None:
        return False
    # Keep blocks below 1 GB. Some versions of glibc reject thresholds above 32 MB: keep all blocks.
    kept = mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_MAX, 0)
    return bool(kept and mallopt(_M_TRIM_THRESHOLD, -1))
