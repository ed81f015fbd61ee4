"""Writes tables: CSV, TSV, JSON Lines and Parquet."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from srulight.runtime.arrow import require_pyarrow
from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError
from srulight.runtime.records import TABLES

TableFormat = Literal["csv", "tsv", "jsonl", "parquet"]
"""Formats in which tables can be written, named as their file extensions."""


def format_of(path: Path | str) -> TableFormat | None:
    """Returns the format of a table by its file extension; None if it has another one."""
    ending = Path(path).suffix
    return ending[1:] if ending in TABLES else None  # type: ignore[return-value]


def table_writer(
    form: TableFormat, columns: Sequence[str]
) -> tuple[str, Callable[[Mapping[str, Any]], str]]:
    """Returns the header of a table, and a function that formats a row; both with line ends.

    Cells that are lists or mappings become JSON in "csv" and "tsv", and null becomes an empty cell.
    A "tsv" has no quotes, so tabs and line breaks in its cells become spaces.

    Args:
        form: Format other than "parquet".
        columns: Names of the columns; those that a row lacks are empty. JSON lines have no header,
            and contain all values of a row.
    """
    if form == "jsonl":
        return "", lambda row: json.dumps(row, ensure_ascii=False, default=str) + "\n"

    def line(cells: Iterable[str]) -> str:
        if form == "tsv":
            return "\t".join(" ".join(c.replace("\t", " ").splitlines()) for c in cells) + "\n"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue()

    return line(columns), lambda row: line(_text(row.get(name)) for name in columns)


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the names of all columns of a table, in the order in which they first appear."""
    return list(dict.fromkeys(name for row in rows for name in row))


def write_parquet(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes a Parquet file, which appears only when it is complete.

    Args:
        rows: Values by the names of their columns.
        path: File to write.

    Raises:
        InputError: If pyarrow is not installed, or a column has values of different types.
    """
    arrow = require_pyarrow(f"writing {path}")
    from pyarrow.parquet import write_table

    columns = columns_of(rows)
    try:
        table = arrow.table({name: [row.get(name) for row in rows] for name in columns})
    except (arrow.ArrowException, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: expected columns of one type each: {reason}; write another format, such as "
            "--format=jsonl"
        ) from error
    with written(path) as part:
        write_table(table, part)


def _text(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
