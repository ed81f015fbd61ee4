"""Files that are whole or not there, whenever a process is killed, a disk fills or power fails."""

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
    """Lets a file be written beside its place; it takes its place when it is whole and on the disk.

    A link stays, and what it leads to is written. What is there and no file, a device or a pipe, is
    written into as it is.

    Args:
        path: Where the file goes; its folder is made if missing.

    Yields:
        The file to write, in the same folder. Two processes that write the same file do not meet.

    Raises:
        InputError: If it cannot be written; what was there before is whole.
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
        _sync(target.parent)  # the name, too, must outlast a power failure
    except BrokenPipeError:
        raise  # whoever reads a pipe has had enough
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
        # Some file systems cannot, for folders.
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
        reason = f"there is no room for it, {free / 1e6:,.0f} MB are free"
    elif in_the_way is not None:
        reason = f"{in_the_way} is a file and no folder"
    elif not os.path.isdir(path.parent):
        reason = f"there is no folder {path.parent}, and it cannot be made ({reason})"
    before = "; what was there before is whole" if is_there else ""
    return f"{path} could not be written: {reason}{before}"
