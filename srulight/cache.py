"""Where srulight keeps what it can make again: compiled kernels, and texts as token ids."""

import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from srulight.errors import InputError

_SUMS = "sums.json"
_BLOCKS = 256  # Of 1 MiB, hashed in a third of a second.


def cache_folder() -> Path:
    """Gives the folder: SRULIGHT_CACHE, or srulight in the user's cache folder."""
    if own := os.environ.get("SRULIGHT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srulight"


def cached(kind: str, key: str, make: Callable[[Path], object]) -> Path:
    """Gives a folder of files that are made once, and anew when they are damaged.

    One process makes them, and others wait. Checksums lie beside them and are compared each time.
    A process that dies leaves neither a lock nor half a folder.

    Args:
        kind: What the files are: the folder in the cache that this one lies in.
        key: Name of the folder, which tells all that goes into the files.
        make: Writes the files, without folders of their own, into the folder that it is given.

    Raises:
        InputError: If the cache cannot be written.
    """
    folder = cache_folder() / kind / key
    if _is_whole(folder):
        return folder
    try:
        for place in (cache_folder(), folder.parent):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{key}.lock")):
            if not _is_whole(folder):
                _build(folder, make)
    except OSError as error:
        if error.filename and not Path(error.filename).is_relative_to(cache_folder()):
            raise  # not of the cache, but of what is made
        raise InputError(
            f"{folder.parent} cannot be written ({error.strerror}); set SRULIGHT_CACHE to a folder "
            "that can, and has room"
        ) from error
    return folder


def _build(folder: Path, make: Callable[[Path], object]) -> None:
    # The lock is held: what is there was left by a process that was killed.
    for left in folder.parent.glob(f"{folder.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    part.mkdir(mode=0o700)
    try:
        make(part)
        (part / _SUMS).write_text(json.dumps(_sums(part)), encoding="utf-8")
        for path in part.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)  # damaged
        os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / _SUMS).read_text(encoding="utf-8")) == _sums(folder))
    except (OSError, ValueError):
        return False


def _sums(folder: Path) -> dict[str, list[object]]:
    """Gives size and checksum of each file; of a very large one, that of its beginning."""
    sums: dict[str, list[object]] = {}
    for path in sorted(folder.iterdir()):
        if path.name != _SUMS:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                for _ in range(_BLOCKS):
                    digest.update(file.read(1 << 20))
            sums[path.name] = [path.stat().st_size, digest.hexdigest()]
    return sums


def refuse_foreign(path: Path) -> None:
    """Refuses a file of the cache that another user may have put there, before its code is run.

    Args:
        path: A file in the cache, which need not be there yet.

    Raises:
        InputError: If it, or a folder of the cache that it lies in, is another user's or can be
            written by others.
    """
    if sys.platform == "win32":  # where a user's folders are their own
        return
    inside = path.relative_to(cache_folder())
    for cache in (cache_folder().absolute(), cache_folder().resolve()):
        places = [(cache / part, 0o022, True) for part in (inside, *inside.parents)]
        # Folders above may be anyone's, if not everyone may rename what lies in them.
        places += [(folder, 0o002, False) for folder in cache.parents]
        for place, others, owned in places:
            if not place.exists():
                continue
            status = place.stat()
            foreign = owned and status.st_uid not in (0, os.geteuid())
            if foreign or (status.st_mode & others and not status.st_mode & stat.S_ISVTX):
                raise InputError(
                    f"{place} {'belongs to' if foreign else 'can be written by'} other users, and "
                    "code there could be theirs; make it yours alone (chown, chmod go-w), or set "
                    "SRULIGHT_CACHE to a folder that is"
                )
