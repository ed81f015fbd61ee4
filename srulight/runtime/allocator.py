"""What keeps the operating system out of the way of large tensors on CPU."""

import ctypes
import os
import sys

SWITCH = "SRULIGHT_MEMORY"
"""Environment variable: ``off`` leaves the allocator as it is."""

# Names of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4


def tune_allocator() -> bool:
    """Makes this process keep memory that it frees, and ask for large pages.

    By default glibc returns every block above 32 MB at once, and the next tensor of that size pays
    for each of its pages again: on CPU that can take longer than what is computed. The command line
    calls this at its start; a program that imports srulight may call it as its first act, and then
    holds on to the most memory it ever had. Only glibc (Linux) is touched.

    Returns:
        Whether anything was set.
    """
    if os.environ.get(SWITCH, "").lower() == "off" or not sys.platform.startswith("linux"):
        return False
    # Read by torch when it allocates for the first time.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    # Below 1 GB a block is kept; a glibc that takes no threshold above 32 MB keeps all.
    kept = mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_MAX, 0)
    return bool(kept and mallopt(_M_TRIM_THRESHOLD, -1))
