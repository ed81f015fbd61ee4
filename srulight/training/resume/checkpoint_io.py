"""Saves checkpoints atomically."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from srulight.runtime.atomic_io import written


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves checkpoints atomically: the previous one stays intact until the new one is complete.

    Lightning (2.6) writes a temporary file in another folder and moves it. If that folder is on
    another disk, moving means copying, which is not atomic.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401
    ) -> None:
        path = Path(path)
        # Remove what a killed process left behind; only one process of a run writes checkpoints.
        for left in path.parent.glob(f".{path.name}.*.part"):
            left.unlink(missing_ok=True)
        with written(path) as part, part.open("wb", buffering=0) as raw:
            file = _ErrorKeepingFile(raw.write)
            try:
                torch.save(checkpoint, file)  # type: ignore[arg-type]
            except RuntimeError as error:
                raise file.error or error from error


class ReadCheckpointIO(TorchCheckpointIO):
    """Gives Lightning a checkpoint that has been read already, such as one that is a folder.

    Args:
        contents: Contents of the checkpoint.
    """

    def __init__(self, contents: dict[str, Any]) -> None:
        self._contents = contents

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        return dict(self._contents)


class _ErrorKeepingFile:
    """A file that remembers why writing failed, which ``torch.save`` does not report.

    Args:
        write: Writes some of the bytes that it is given, and returns their number.

    Attributes:
        error: The exception that writing raised; None if it succeeded.
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
        """Does nothing, because there is no buffer."""
