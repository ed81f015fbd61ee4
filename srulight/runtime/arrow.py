"""Reads columnar tables: Parquet files, and data sets that Hugging Face's ``datasets`` has saved.

The files are read with pyarrow alone: reading them runs no code from them, uses no network and
writes nothing.
"""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from srulight.runtime.errors import InputError

PARQUET = ".parquet"
"""File extension of Parquet files."""

_STATE, _INFO, _PARTS = "state.json", "dataset_info.json", "dataset_dict.json"
_BATCH = 1024  # rows that are converted at a time


def is_dataset(path: Path | str) -> bool:
    """Returns whether a path is a folder that ``save_to_disk`` of ``datasets`` has written."""
    return any((Path(path) / name).is_file() for name in (_STATE, _PARTS))


def arrow_rows(path: Path | str, remedy: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Reads a Parquet file or a saved data set row by row.

    Class labels that the file stores as integers become the names of their classes, and None where
    the label is missing (-1).

    Args:
        path: Path of the file or folder.
        remedy: What to do if the file is missing, as the last clause of the error message.

    Yields:
        The number of each row, from 1, and its values by the names of their columns.

    Raises:
        InputError: If pyarrow is not installed, or the file is missing, damaged or of another
            format, or if a column appears twice.
    """
    number = 0
    for batch in arrow_batches(path, remedy):
        classes = class_names(Path(path), batch.schema)
        for row in batch.to_pylist():
            number += 1
            yield number, {k: named(v, classes.get(k)) for k, v in row.items()}


def arrow_batches(
    path: Path | str, remedy: str, columns: list[str] | None = None, size: int = _BATCH
) -> Iterator[Any]:
    """Reads a Parquet file or a saved data set as record batches of pyarrow.

    Args:
        path: Path of the file or folder.
        remedy: What to do if the file is missing, as the last clause of the error message.
        columns: Names of the columns to read; all if None.
        size: Maximum number of rows per batch.

    Yields:
        The batches in order.

    Raises:
        InputError: As for ``arrow_rows``.
    """
    path = Path(path)
    arrow = require_pyarrow(f"reading {path}")
    try:
        batches = _dataset(path, size) if path.is_dir() else _parquet(path, remedy, columns, size)
        for batch in batches:
            names = batch.schema.names
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise InputError(f"{path}: the column {twice!r} appears twice")
            yield batch if columns is None else batch.select(columns)
    except (arrow.ArrowException, UnicodeDecodeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is damaged or of another format: {reason}") from error


def require_pyarrow(doing: str) -> Any:  # noqa: ANN401
    """Imports pyarrow.

    Args:
        doing: What needs pyarrow, for the error message.

    Raises:
        InputError: If it is not installed.
    """
    try:
        return import_module("pyarrow")
    except ImportError as error:
        raise InputError(
            f'{doing} needs pyarrow; install it: pip install "srulight[tables]"'
        ) from error


def _parquet(path: Path, remedy: str, columns: list[str] | None, size: int) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    if not path.is_file():
        after = f"; {remedy}" if remedy else ""
        raise InputError(f"{path.name} is not in {path.parent.absolute()}{after}")
    with ParquetFile(path) as file:
        yield from file.iter_batches(size, columns=columns)


def _dataset(folder: Path, size: int) -> Iterator[Any]:
    import pyarrow

    if (folder / _PARTS).is_file():
        parts = _json(folder / _PARTS).get("splits", [])
        raise InputError(
            f"{folder}: expected one data set, got a folder with the parts {', '.join(parts)}; "
            f"name the folder of one part, such as {folder.name}/{parts[0] if parts else 'train'}"
        )
    for part in _json(folder / _STATE).get("_data_files", []):
        name = part.get("filename") if isinstance(part, dict) else None
        if not isinstance(name, str) or Path(name).name != name:
            raise InputError(f"{folder / _STATE}: expected names of files, got {part!r:.80}")
        with pyarrow.memory_map(str(folder / name)) as file, pyarrow.ipc.open_stream(file) as all_:
            for batch in all_:
                for start in range(0, len(batch), size):
                    yield batch.slice(start, size)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    return found if isinstance(found, dict) else {}


def class_names(path: Path, schema: Any) -> dict[str, list[str]]:  # noqa: ANN401
    """Returns the names of the classes of each column that contains class labels as integers.

    Args:
        path: Path of the file or folder.
        schema: Schema of a batch.
    """
    if path.is_dir():
        features = _json(path / _INFO).get("features")
    else:
        # Parquet files that datasets has written contain the same description.
        stored = (schema.metadata or {}).get(b"huggingface", b"{}")
        try:
            features = json.loads(stored)["info"]["features"]
        except (ValueError, LookupError, TypeError, RecursionError):
            features = None
    found = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else None
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel":
            names = inner.get("names")
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                found[column] = names
    return found


def named(value: Any, names: list[str] | None) -> Any:  # noqa: ANN401
    """Returns the name of the class, or the names of the classes, that a cell contains.

    Args:
        value: Index of a class, below 0 if it is missing; or a list of them.
        names: Names of the classes; None for a column without classes.

    Returns:
        The names, and None where an index is missing; other values unchanged.
    """
    if names is None:
        return value
    if isinstance(value, list):
        return [named(item, names) for item in value]
    if not isinstance(value, int) or value < 0:
        return None
    return names[value] if value < len(names) else value
