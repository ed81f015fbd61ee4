"""Where srulight keeps what it can make again: compiled kernels, and texts as token ids."""

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
_BLOCKS = 256  # Of 1 MiB, hashed in a third of a second.


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


def cached_json(kind: str, key: str, compute: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Gives plain data that are computed once; as :func:`cached`.

    Args:
        kind: What the data are.
        key: What tells all that goes into them.
        compute: Gives the data, as JSON holds them.
    """
    name = f"{kind}.json"

    def make(folder: Path) -> None:
        text = json.dumps(compute(), ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")

    return json.loads((cached(kind, key, make) / name).read_text(encoding="utf-8"))


def cache_key(*recipe: object) -> str:
    """Names what is made from plain data.

    Args:
        *recipe: All that goes into it, as JSON holds it.
    """
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:24]


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
    for root in (cache_folder().absolute(), cache_folder().resolve()):
        places = [(root / part, 0o022, True) for part in (inside, *inside.parents)]
        # Folders above may be anyone's, if not everyone may rename what lies in them.
        places += [(folder, 0o002, False) for folder in root.parents]
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
