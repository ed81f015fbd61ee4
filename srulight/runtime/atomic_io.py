"""Files that are whole or not there, whenever a process is killed, a disk fills or power fails."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

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


class WholeCheckpoints(TorchCheckpointIO):
    """Saves checkpoints so that the one before stays whole until the new one is.

    Lightning's own way (2.6) writes elsewhere first and moves the file, which is a copy where that
    is another disk.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401
    ) -> None:
        path = Path(path)
        # Of a process that was killed while it wrote; a run has one that writes.
        for left in path.parent.glob(f".{path.name}.*.part"):
            left.unlink(missing_ok=True)
        with written(path) as part, part.open("wb", buffering=0) as raw:
            file = _Noting(raw.write)
            try:
                torch.save(checkpoint, file)  # type: ignore[arg-type]
            except RuntimeError as error:
                raise file.error or error from error


class _Noting:
    """A file for torch.save, which says that writing failed and forgets why.

    Args:
        write: Writes some bytes of those it is given, and returns how many.

    Attributes:
        error: Why writing failed; None if it did not.
    """

    def __init__(self, write: Callable[[memoryview], int | None]) -> None:
        self._write = write
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        rest = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[self._write(rest) or 0 :]
        except OSError as error:
            self.error = error
            raise
        return len(data)

    def flush(self) -> None:
        """Does nothing: nothing is kept back."""


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
