"""Atomic writes: a file is complete or absent, even if the process dies or the disk fills up."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from srulight.runtime.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Writes a temporary file, and moves it into place once it is complete and on disk.

    If ``path`` is a symbolic link, the link stays and its target is replaced. If it is a device or
    a pipe, it is written to directly.

    Args:
        path: Final place of the file. Its folder is created if it does not exist.

    Yields:
        Path of the temporary file, in the same folder. Its name contains the process ID, so that
        several processes can write the same file.

    Raises:
        InputError: If the file cannot be written. A previous version of it stays intact.
    """
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    part = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        if path.exists() and not path.is_file():
            yield path
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _sync(part)
        os.replace(part, target)
        _sync(target.parent)  # the new name must survive a power failure, too
    except BrokenPipeError:
        raise  # the reader has closed the pipe, which is no error
    except OSError as error:
        raise InputError(_failure(path, error)) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot sync folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _failure(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    in_the_way = next((folder for folder in path.parents if os.path.isfile(folder)), None)
    is_there = os.path.isfile(path)
    if error.errno in _FULL and (is_there or not os.path.exists(path)):
        free = shutil.disk_usage(path.parent).free
        reason = f"not enough space ({free / 1e6:,.0f} MB free)"
    elif in_the_way is not None:
        reason = f"{in_the_way} is a file, not a folder"
    elif not os.path.isdir(path.parent):
        reason = f"the folder {path.parent} cannot be created ({reason})"
    before = "; the previous version is intact" if is_there else ""
    return f"cannot write {path}: {reason}{before}"
