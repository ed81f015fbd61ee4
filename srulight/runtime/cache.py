"""A cache for files that srulight can recreate: compiled kernels and texts as token ids."""

import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from srulight.runtime.errors import InputError

_SUMS = "sums.json"
_BLOCKS = 256  # Number of blocks of 1 MiB that are hashed, in a third of a second.


def cache_folder() -> Path:
    """Returns the cache folder: ``SRULIGHT_CACHE``, or ``srulight`` in the user's cache folder.

    If that folder is not writable, for example in a container whose user has no home directory,
    prints a warning and returns a folder for temporary files.
    """
    if own := os.environ.get("SRULIGHT_CACHE"):
        return Path(own)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return _writable(home)


@cache
def _writable(parent: str) -> Path:
    folder = Path(parent, "srulight")
    try:
        if not folder.is_absolute():  # the home directory is unknown
            raise FileNotFoundError(f"{parent} is not an absolute path")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        other = _temporary()
        print(
            f"srulight: cannot write to {folder} ({error.strerror or error}); keeping compiled "
            f"kernels and caches in {other}; set SRULIGHT_CACHE=FOLDER to a permanent folder",
            file=sys.stderr,
        )
        return other
    return folder


def _temporary() -> Path:
    """Returns a temporary folder that only this user can write to.

    The usual name may be taken: another user may have created a folder of that name.
    """
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


def cached(kind: str, key: str, make: Callable[[Path], object]) -> Path:
    """Returns a folder of cached files, which it creates if they are missing or damaged.

    One process creates the files while the others wait. The folder also holds checksums, which are
    verified on each call. A process that dies leaves neither a lock nor an incomplete folder.

    Args:
        kind: Kind of files, the name of the parent folder in the cache.
        key: Name of the folder. It must identify everything that the files depend on.
        make: Writes the files into the folder that it is given, without subfolders.

    Raises:
        InputError: If the cache is not writable.
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
            raise  # make failed outside the cache
        raise InputError(
            f"cannot write to {folder.parent} ({error.strerror}); set SRULIGHT_CACHE=FOLDER to a "
            "writable folder with enough space"
        ) from error
    return folder


def cached_json(kind: str, key: str, compute: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Returns cached plain data, which it computes if they are missing or damaged.

    Args:
        kind: Kind of data, the name of the parent folder in the cache.
        key: Name of the entry. It must identify everything that the data depend on.
        compute: Returns the data, which must be serializable as JSON.
    """
    name = f"{kind}.json"

    def make(folder: Path) -> None:
        text = json.dumps(compute(), ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")

    return json.loads((cached(kind, key, make) / name).read_text(encoding="utf-8"))


def cache_key(*recipe: object) -> str:
    """Computes a cache key from everything that an entry depends on.

    Args:
        *recipe: Values that the entry depends on, serializable as JSON.
    """
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:24]


def _build(folder: Path, make: Callable[[Path], object]) -> None:
    # This process holds the lock, so these folders belong to processes that were killed.
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
        shutil.rmtree(folder, ignore_errors=True)  # the damaged folder, if there is one
        os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / _SUMS).read_text(encoding="utf-8")) == _sums(folder))
    except (OSError, ValueError):
        return False


def _sums(folder: Path) -> dict[str, list[object]]:
    """Returns the size and checksum of each file; the checksum covers the first 256 MiB."""
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
    """Rejects a cached file that another user may have created, before its code runs.

    Args:
        path: Path of a file in the cache. The file need not exist yet.

    Raises:
        InputError: If another user owns, or can write to, the file or a folder of the cache that
            contains it.
    """
    if sys.platform == "win32":  # only the user can write to these folders there
        return
    inside = path.relative_to(cache_folder())
    for root in (cache_folder().absolute(), cache_folder().resolve()):
        places = [(root / part, 0o022, True) for part in (inside, *inside.parents)]
        # Any user may own the parent folders, as long as others cannot rename entries in them.
        places += [(folder, 0o002, False) for folder in root.parents]
        for place, others, owned in places:
            if not place.exists():
                continue
            status = place.stat()
            foreign = owned and status.st_uid not in (0, os.geteuid())
            if foreign or (status.st_mode & others and not status.st_mode & stat.S_ISVTX):
                raise InputError(
                    f"{place} {'belongs to' if foreign else 'is writable by'} other users, who "
                    "could put code there; restrict it to yourself (chown, chmod go-w), or set "
                    "SRULIGHT_CACHE=FOLDER to a folder that only you can write to"
                )
