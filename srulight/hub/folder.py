"""The folder that is uploaded: a checkpoint as safetensors and JSON, with a model card."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from srulight.export.settings import without_places, write_manifest, write_settings
from srulight.runtime.errors import InputError
from srulight.training.resume.checkpoint_format import CONFIG

CARD = "README.md"
"""Name of the model card."""


def shared(checkpoint: dict[str, Any], trainer: tuple[str, ...]) -> dict[str, Any]:
    """Returns the parts of a checkpoint that others need, without folders of this machine.

    Args:
        checkpoint: Contents of the checkpoint.
        trainer: Names of the trainer's settings to keep.
    """
    found = dict(checkpoint)
    found["hyper_parameters"] = without_places(checkpoint["hyper_parameters"])
    if CONFIG in checkpoint:
        config = without_places(checkpoint[CONFIG])
        config["trainer"] = {k: v for k, v in config["trainer"].items() if k in trainer}
        found[CONFIG] = config
    return found


@contextmanager
def written(checkpoint: dict[str, Any], card: str, folder: Path, keep: bool) -> Iterator[Path]:
    """Writes the folder of a checkpoint, which appears only when it is complete.

    Args:
        checkpoint: Contents of the checkpoint, as ``shared`` returns them.
        card: The model card.
        folder: Folder to write, which must not exist.
        keep: Whether the folder stays afterward.

    Yields:
        The folder.

    Raises:
        InputError: If a file cannot be written.
    """
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        write_settings(checkpoint, {}, part)
        (part / CARD).write_text(card, encoding="utf-8")
        write_manifest(part)
        part.rename(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
