"""Where srulight keeps what it can make again: compiled kernels, and texts as token ids."""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path


def cache_folder() -> Path:
    """Gives the folder: SRULIGHT_CACHE, or srulight in the user's cache folder.

    Where that cannot be written, as where a container runs for a user without a home: a folder for
    temporary files, and a line says so.
    """
    if own := os.environ.get("SRULIGHT_CACHE"):
        return Path(own)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return _writable(home)


@cache
def _writable(parent: str) -> Path:
    folder = Path(parent, "srulight")
    try:
        if not folder.is_absolute():  # a home that nobody knows
            raise FileNotFoundError(f"there is no folder {parent}")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        other = _temporary()
        print(
            f"srulight: {folder} cannot be written ({error.strerror or error}); kernels and caches "
            f"go to {other}: set SRULIGHT_CACHE to a folder that stays",
            file=sys.stderr,
        )
        return other
    return folder


def _temporary() -> Path:
    """Gives a folder that is this user's alone; others may have made one of its name."""
    if not hasattr(os, "getuid"):
        return Path(tempfile.gettempdir(), "srulight")
    folder = Path(tempfile.gettempdir(), f"srulight-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="srulight-"))
    is_ours = status.st_uid == os.getuid() and status.st_mode & 0o170077 == 0o040000
    return folder if is_ours else Path(tempfile.mkdtemp(prefix="srulight-"))
