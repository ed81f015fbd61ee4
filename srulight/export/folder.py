"""Writes the folder of an export: models, weights, settings, card, example and checksums."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from srulight.export.card import Measured, card
from srulight.export.comparison import Difference, Speed, compare, speed
from srulight.export.formats import Format
from srulight.export.networks.base import Model, Network
from srulight.export.settings import MANIFEST, read_manifest, write_manifest, write_settings
from srulight.runtime.errors import InputError

BATCHES = (1, 32)
"""Numbers of sequences for which the speed is measured."""


def export(
    checkpoint: dict[str, Any],
    network: Network,  # type: ignore[type-arg]
    form: Format,
    folder: Path,
    *,
    inputs: Sequence[str] = (),
    overwrite: bool = False,
    license_name: str = "",
    machine: str = "",
    say: Callable[[str], None] = print,
) -> list[Measured]:
    """Exports a network, runs the export, and compares it with the network.

    The folder appears under its name when everything is written and compared; if anything fails, it
    does not appear at all.

    Args:
        checkpoint: Contents of the checkpoint.
        network: The network of its task.
        form: Format of the models.
        folder: Folder to write.
        inputs: Files with real inputs for the comparison; the embedded data if empty.
        overwrite: Whether to replace a folder that exists.
        license_name: License of the weights, for the card.
        machine: What the speed was measured on, for the card.
        say: Prints a line about each model.

    Returns:
        The models, and what was measured of them.

    Raises:
        InputError: If the folder exists, the network cannot be exported, or the export differs.
    """
    check_folder(folder, overwrite)
    real = network.real(inputs)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from error
    try:
        models = network.models()
        run = {}
        for model in models:
            say(f"writing {model.name}")
            run[model.name] = form.write(model, part)
        differences = compare(network, models, run, real)
        measured = []
        for model in models:
            steps = network.speed_steps
            speeds = {b: speed(model, run[model.name], b, steps) for b in BATCHES}
            measured.append(Measured(model, differences[model.name], speeds))
            for line in _lines(model, form, differences[model.name], speeds):
                say(line)
        if "together" in differences:
            say(f"models together: largest difference {differences['together'].largest:.1e}")
        facts = {
            "models": {m.name: {"inputs": m.inputs, "outputs": m.outputs} for m in models},
            "facts": network.facts(),
        }
        write_settings(checkpoint, facts, part)
        if form.name == "onnx":
            (part / "example.py").write_text(network.example(), encoding="utf-8")
        text = card(checkpoint, network, form, measured, license_name, machine)
        (part / "README.md").write_text(text, encoding="utf-8")
        write_manifest(part)
        _replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return measured


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raises InputError if a folder exists and must not be replaced, or is not an export alone.

    Args:
        folder: The folder to write.
        overwrite: Whether an export that exists may be replaced.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        raise InputError(f"--output must be a folder, got the file {folder}; pass another folder")
    content = {path.name for path in folder.iterdir()}
    if not content:
        return
    if not overwrite:
        raise InputError(
            f"--output: {folder} exists already; pass another folder, or --overwrite to replace it"
        )
    try:
        others = content - {MANIFEST, *read_manifest(folder)}
    except InputError as error:
        raise InputError(
            f"--output: {folder} is not an exported model, and is not replaced; pass another folder"
        ) from error
    if others:
        raise InputError(
            f"--output: {folder} is not replaced, because no export wrote {min(others)!r} in it; "
            "move that file, or pass another folder"
        )


def _replace(part: Path, folder: Path) -> None:
    """Moves a complete folder to its name, and removes what was there."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.is_dir():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _lines(
    model: Model, form: Format, difference: Difference, speeds: dict[int, Speed]
) -> list[str]:
    """Describes the difference and the speed of a model."""
    found = [f"{model.name}: largest difference {difference.largest:.1e}"]
    for batch, one in speeds.items():
        ratio = one.checkpoint / one.exported
        compared = f"{ratio:.2f} times as fast" if ratio >= 1 else f"SLOWER: {1 / ratio:.2f} times"
        compared += " as the checkpoint" if ratio >= 1 else " the time of the checkpoint"
        found.append(
            f"{model.name}: batch {batch}: checkpoint {one.checkpoint:.3f} ms, {form.title} "
            f"{one.exported:.3f} ms, {compared}"
        )
    return found
