"""Checkpoints that are whole or not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from srulight.runtime.atomic_io import written


class AtomicCheckpointIO(TorchCheckpointIO):
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
