"""The files from which a task can be rebuilt without a checkpoint: settings, vocabulary, weights.

Exports have them, and models on the Hugging Face hub.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srulight import __version__
from srulight.runtime.errors import InputError
from srulight.runtime.structure import require
from srulight.training.resume.checkpoint_format import (
    CONFIG,
    DROPPED,
    METADATA,
    QUANTIZATION,
    TASK,
)

SETTINGS, VOCABULARY, WEIGHTS = "settings.json", "metadata.json", "weights.safetensors"
"""Names of the files."""
MANIFEST = "manifest.json"
"""File with the checksums of all others."""
LIMITS = {
    MANIFEST: 1_000_000, SETTINGS: 10_000_000, VOCABULARY: 250_000_000, WEIGHTS: 50_000_000_000,
}  # fmt: skip
"""Largest size of each file, in bytes, so that nobody can fill a disk or the memory with one."""

_FORMAT = "srulight export"
_VERSION = 1
_MANIFEST = {"format": str, "version": int, "files": {"*": {"bytes": int, "sha256": str}}}
_SETTINGS = {
    "format": str, "version": int, TASK: str, "hyper_parameters": {"*": object}, "step": int,
    "epoch": int, "lightning": str, "metrics?": {"*": (int, float)},
}  # fmt: skip
_KEPT = (CONFIG, QUANTIZATION)
"""Optional entries of a checkpoint that the settings contain, without folders of this machine."""


def write_settings(checkpoint: dict[str, Any], facts: dict[str, Any], folder: Path) -> None:
    """Writes settings, vocabulary and weights of a checkpoint.

    Args:
        checkpoint: Contents of the checkpoint.
        facts: What the example and other programs need to know, for the file of settings.
        folder: Folder to write to.

    Raises:
        InputError: If the settings are not plain data, or safetensors is not installed.
    """
    if checkpoint[DROPPED]:
        raise InputError(
            f"the training script passed {' and '.join(checkpoint[DROPPED])} as code, which no "
            "file can contain; pass a checkpoint of the command fit"
        )
    settings = {
        "format": _FORMAT,
        "version": _VERSION,
        "srulight": __version__,
        TASK: checkpoint[TASK],
        "hyper_parameters": checkpoint["hyper_parameters"],
        "step": checkpoint["global_step"],
        "epoch": checkpoint["epoch"],
        "lightning": checkpoint["pytorch-lightning_version"],
        "metrics": numbers_of(checkpoint),
        **{name: without_places(checkpoint[name]) for name in _KEPT if name in checkpoint},
        **facts,
    }
    _write_json(folder / SETTINGS, settings)
    _write_json(folder / VOCABULARY, checkpoint[METADATA])
    # Tied weights and views share memory, which the format has no notion of.
    weights = {
        name: t.detach().clone().contiguous() for name, t in checkpoint["state_dict"].items()
    }
    _safetensors().save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def without_places(settings: Any) -> Any:  # noqa: ANN401
    """Returns settings in which absolute paths are shortened to their last part.

    They say how folders of a machine are named, and mean nothing on another one.

    Args:
        settings: Settings as plain data.
    """
    if isinstance(settings, dict):
        return {name: without_places(value) for name, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [without_places(value) for value in settings]
    if isinstance(settings, str) and os.path.isabs(settings) and "\n" not in settings:
        return os.path.basename(settings.rstrip("/")) or settings
    return settings


def _write_json(path: Path, data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=1, ensure_ascii=False, default=_plain)
    path.write_text(f"{text}\n", encoding="utf-8", errors="surrogatepass")


def _plain(value: object) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor):
        return value.tolist()
    raise InputError(f"cannot write {type(value).__name__} in the settings of the checkpoint")


def _safetensors() -> Any:  # noqa: ANN401
    try:
        from safetensors import torch as safetensors
    except ImportError as error:
        raise InputError(
            "exported weights need safetensors, which is not installed; run pip install "
            '"srulight[export]"'
        ) from error
    return safetensors


def write_manifest(folder: Path) -> None:
    """Writes the sizes and the SHA-256 checksums of all files in a folder.

    Args:
        folder: The folder, without folders in it.
    """
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _checksum(path)}
        for path in sorted(folder.iterdir())
    }
    _write_json(folder / MANIFEST, {"format": _FORMAT, "version": _VERSION, "files": files})


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Reads the sizes and the checksums of the other files of an export.

    Args:
        folder: The folder.

    Returns:
        ``bytes`` and ``sha256`` of each file, by its name.

    Raises:
        InputError: If the folder is not an export.
    """
    manifest = _read_json(folder, MANIFEST)
    require(manifest, _MANIFEST, str(folder / MANIFEST))
    _check_version(manifest, folder / MANIFEST)
    files: dict[str, dict[str, Any]] = manifest["files"]
    return files


def read_export(folder: Path) -> dict[str, Any]:
    """Reads the folder of an export as if it were the checkpoint that it was made from.

    Nothing in the folder is run: the models and the example are not even opened, except to compute
    their checksums. They may be missing.

    Args:
        folder: The folder.

    Returns:
        What the checkpoint contained, without the state of its training.

    Raises:
        InputError: If a file is missing, too large or was changed, or the folder is not an export.
    """
    files = read_manifest(folder)
    for name in (SETTINGS, VOCABULARY, WEIGHTS):
        if name not in files:
            raise InputError(f"{folder / MANIFEST}: expected a checksum of {name}, got none")
    for name, known in files.items():
        if Path(name).name != name or name in ("", ".", ".."):
            raise InputError(f"{folder / MANIFEST}: expected names of files, got {name!r:.60}")
        if name in LIMITS or (folder / name).exists():
            _check(folder, name, known)
    settings = _read_json(folder, SETTINGS)
    require(settings, _SETTINGS, str(folder / SETTINGS))
    _check_version(settings, folder / SETTINGS)
    try:
        weights = _safetensors().load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors raises its own exceptions, and those of torch
        raise InputError(f"{folder / WEIGHTS} is damaged: {error}; export it again") from error
    return {
        "epoch": settings["epoch"],
        "global_step": settings["step"],
        "pytorch-lightning_version": settings["lightning"],
        "state_dict": weights,
        "hyper_parameters": settings["hyper_parameters"],
        DROPPED: [],
        TASK: settings[TASK],
        METADATA: _read_json(folder, VOCABULARY),
        "metrics": settings.get("metrics", {}),
        **{name: settings[name] for name in _KEPT if name in settings},
    }


def _check(folder: Path, name: str, known: dict[str, Any]) -> None:
    path = folder / name
    if path.is_file():
        check_size(str(path), name, path.stat().st_size)
    if not path.is_file():
        raise InputError(f"{path} is missing; export the model again, or copy the whole folder")
    if path.stat().st_size != known["bytes"] or _checksum(path) != known["sha256"]:
        raise InputError(
            f"{path} was changed after the export: its checksum is not that of {MANIFEST}; copy "
            "the folder again"
        )


def check_size(where: str, name: str, size: int) -> None:
    """Raises InputError if a file is larger than any that srulight writes.

    Args:
        where: The file, for the error message.
        name: Name of the file.
        size: Its size, in bytes.
    """
    if size > LIMITS.get(name, size):
        raise InputError(
            f"{where} must have at most {LIMITS[name]:,} bytes, got {size:,}; export the model "
            "again"
        )


def _check_version(data: dict[str, Any], path: Path) -> None:
    if data["format"] != _FORMAT or data["version"] != _VERSION:
        raise InputError(
            f"{path}: expected the format {_FORMAT!r} of version {_VERSION}, got "
            f"{data['format']!r:.40} of version {data['version']}; export the model again"
        )


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise InputError(f"{folder}: expected an exported model with a file {name}, got none")
    check_size(str(path), name, path.stat().st_size)
    try:
        data = json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}; export the model again") from error
    require(data, dict, str(path))
    found: dict[str, Any] = data
    return found


def numbers_of(checkpoint: dict[str, Any]) -> dict[str, float]:
    """Returns the metrics that a checkpoint contains, by name, such as its best score.

    Args:
        checkpoint: Contents of the checkpoint.
    """
    found: dict[str, float] = dict(checkpoint.get("metrics", {}))
    for state in checkpoint.get("callbacks", {}).values():
        score, monitor = state.get("best_model_score"), state.get("monitor")
        if isinstance(score, torch.Tensor) and score.numel() == 1 and isinstance(monitor, str):
            found[f"best {monitor}"] = float(score)
        score = state.get("current_score")
        if isinstance(score, torch.Tensor) and score.numel() == 1 and isinstance(monitor, str):
            found[f"{monitor} of this checkpoint"] = float(score)
    return found
