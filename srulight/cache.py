"""Where srulight keeps what it can make again: compiled kernels, and texts as token ids."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Gives the folder: SRULIGHT_CACHE, or srulight in the user's cache folder."""
    if own := os.environ.get("SRULIGHT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srulight"
