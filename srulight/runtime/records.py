"""Reads JSON and tables from untrusted files."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srulight.runtime.arrow import PARQUET, arrow_rows, is_dataset
from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.files import LONGEST_LINE, filled_lines, lines, name_of, well_formed

TABLES = (".tsv", ".csv", ".jsonl", PARQUET)
"""File extensions of tables."""

_DEEPEST = 100  # maximum nesting of lists and objects


def parse_json(text: str, where: str) -> Any:  # noqa: ANN401
    """Parses a JSON value; lone surrogates in strings become U+FFFD.

    Args:
        text: JSON text.
        where: Place of the text, for error messages.

    Raises:
        InputError: If the text is not JSON, has an object with a duplicate key, is nested more than
            100 levels deep, or contains an integer of thousands of digits.
    """
    try:
        return _bounded(json.loads(text, object_pairs_hook=_object), 0)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    except RecursionError as error:
        raise InputError(
            f"{where}: expected JSON of at most {_DEEPEST} nested levels, got more"
        ) from error
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except ValueError as error:
        # Python limits the number of digits, because parsing takes quadratic time.
        raise InputError(f"{where}: a number has too many digits") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"the key {well_formed(twice)!r} appears twice in an object")
    return found


def _bounded(value: Any, depth: int) -> Any:  # noqa: ANN401
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [_bounded(one, depth + 1) for one in value]
    if isinstance(value, dict):
        return {well_formed(name): _bounded(one, depth + 1) for name, one in value.items()}
    return value


def is_table(path: Path | str) -> bool:
    """Returns whether a path names a table that ``table_rows`` reads."""
    return Path(path).suffix in TABLES or is_dataset(path)


def table_rows(
    path: Path | str, remedy: str, faults: Faults, ending: str | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Reads a table row by row; of a pipe, each row as soon as its line is complete.

    Args:
        path: Path of the table. A ``.tsv`` or ``.csv`` file names its columns in the first row. A
            ``.parquet`` file, and a folder that Hugging Face's ``datasets`` has saved, require
            pyarrow. Any other file has one JSON object per line.
        remedy: What to do if the file is missing, as the last clause of the error message.
        faults: Collects the errors in rows; rows with errors are skipped.
        ending: Extension that tells how to read the file; that of the path if None.

    Yields:
        The line number of each row, or its own number in a file without lines, and its values by
        the names of their columns.

    Raises:
        InputError: If the file is missing, empty, not UTF-8 or not such a table, or if a column
            appears twice.
    """
    where = name_of(path)
    ending = ending or Path(path).suffix
    if ending == PARQUET or is_dataset(path):
        yield from arrow_rows(path, remedy)
        return
    if ending not in (".tsv", ".csv"):
        yield from _objects(path, remedy, faults)
        return
    rows = _tab_separated(path, remedy) if ending == ".tsv" else _comma_separated(path, remedy)
    first, header = next(rows, (0, []))
    if not header:
        raise InputError(f"{where} is empty")
    # A single name that contains a separator is in fact the names of several columns.
    if len(header) == 1 and (found := next((s for s in "\t;|," if s in header[0]), None)):
        raise InputError(
            f"{where}:{first}: expected columns separated by tabs (.tsv) or commas (.csv), got "
            f"{found!r}; change the separator, or rename the file"
        )
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise InputError(f"{where}:{first}: the column {twice!r} appears twice")
    for number, row in rows:
        if len(row) != len(header):
            faults.add(f"{where}:{number}: expected {len(header)} columns, got {len(row)}")
            continue
        yield number, dict(zip(header, row, strict=True))


def text_cell(row: dict[str, Any], column: str, place: str, remedy: str) -> str:
    """Returns the text in a column of a row. Integers, a common form of labels, become text.

    Args:
        row: Values by the names of their columns.
        column: Name of the column.
        place: Place of the row, for error messages.
        remedy: What to do if the column is missing, as the last clause of the error message.

    Raises:
        InputError: If the column is missing, or its value is neither text nor an integer.
    """
    if column not in row:
        raise InputError(
            f"{place}: expected a column {column!r}, got the columns {', '.join(row)}; {remedy}"
        )
    if not isinstance(row[column], str | int):
        raise InputError(f"{place}: {column!r} must be text, got {row[column]!r}")
    return str(row[column])


def _objects(path: Path | str, remedy: str, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in filled_lines(path, remedy):
        try:
            row = parse_json(line, f"{name_of(path)}:{number}")
        except InputError as error:
            faults.add(error)
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            faults.add(f"{name_of(path)}:{number}: expected a JSON object, got {line[:60]!r}")


def _tab_separated(path: Path | str, remedy: str) -> Iterator[tuple[int, list[str]]]:
    # Quotes have no special meaning in .tsv files, which have no escapes.
    for number, line in filled_lines(path, remedy):
        yield number, line.split("\t")


def _comma_separated(path: Path | str, remedy: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader((f"{line}\n" for _, line in lines(path, remedy)), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        reason = str(error)
        if "new-line character" in reason:
            reason = "expected rows that end with \\n or \\r\\n, got a lone \\r outside quotes"
        raise InputError(f"{name_of(path)}:{reader.line_num}: {reason}") from error
