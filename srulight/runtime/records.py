"""The one way to read JSON and tables, from files that others made."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.files import LONGEST_LINE, filled_lines, lines, well_formed

TABLES = (".tsv", ".csv", ".jsonl")
"""How the names of tables end."""

_DEEPEST = 100  # Lists and objects inside each other.


def parse_json(text: str, where: str) -> Any:  # noqa: ANN401
    """Reads a JSON value.

    Half a character in a string becomes U+FFFD.

    Args:
        text: JSON.
        where: What an error calls its place.

    Raises:
        InputError: If it is not JSON, an object has a key twice, or it is nested more than 100
            levels deep or has an integer of thousands of digits.
    """
    try:
        return _bounded(json.loads(text, object_pairs_hook=_object), 0)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    except RecursionError as error:
        raise InputError(
            f"{where}: expected JSON of at most {_DEEPEST} levels, got deeper"
        ) from error
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except ValueError as error:
        # Python reads no longer ones, as that takes time quadratic in their length.
        raise InputError(f"{where}: a number has too many digits") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"an object has the key {well_formed(twice)!r} twice")
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


def table_rows(
    path: Path | str, remedy: str, faults: Faults
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Reads a table, row by row.

    Args:
        path: File whose name ends in ``.tsv`` or ``.csv``, and whose first row names the columns;
            else it has a JSON object a line.
        remedy: What to do when the file is missing, to end the sentence of the error.
        faults: Takes what is wrong with a row; such rows are left out.

    Yields:
        The line of each row, and its values by the names of their columns.

    Raises:
        InputError: If the file is missing, empty, not UTF-8 or not such a table, or a column or a
            key is there twice.
    """
    ending = Path(path).suffix
    if ending not in (".tsv", ".csv"):
        yield from _objects(path, remedy, faults)
        return
    rows = _tab_separated(path, remedy) if ending == ".tsv" else _comma_separated(path, remedy)
    first, header = next(rows, (0, []))
    if not header:
        raise InputError(f"{path} is empty")
    # One name with such a sign in it is the names of several columns.
    if len(header) == 1 and (sign := next((s for s in "\t;|," if s in header[0]), None)):
        raise InputError(
            f"{path}:{first}: columns are separated by {sign!r}; expected tabs in a file whose "
            "name ends in .tsv, and commas in .csv"
        )
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise InputError(f"{path}:{first}: the column {twice!r} is there twice")
    for number, row in rows:
        if len(row) != len(header):
            faults.add(f"{path}:{number}: expected {len(header)} columns, got {len(row)}")
            continue
        yield number, dict(zip(header, row, strict=True))


def text_cell(row: dict[str, Any], column: str, place: str, remedy: str) -> str:
    """Gives the text in a column of a row; a whole number, as labels often are, becomes text.

    Args:
        row: Values by the names of their columns.
        column: Name of the column.
        place: What an error calls the row.
        remedy: What to do when there is no such column.

    Raises:
        InputError: If there is none, or it holds something else.
    """
    if column not in row:
        raise InputError(f"{place}: no column {column!r}; there are {', '.join(row)}: {remedy}")
    if not isinstance(row[column], str | int):
        raise InputError(f"{place}: {column!r} must be text, got {row[column]!r}")
    return str(row[column])


def _objects(path: Path | str, remedy: str, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in filled_lines(path, remedy):
        try:
            row = parse_json(line, f"{path}:{number}")
        except InputError as error:
            faults.add(error)
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            faults.add(f"{path}:{number}: expected a JSON object, got {line[:60]!r}")


def _tab_separated(path: Path | str, remedy: str) -> Iterator[tuple[int, list[str]]]:
    # A quote is a quote here: such files are written without escapes.
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
        raise InputError(f"{path}:{reader.line_num}: {reason}") from error
