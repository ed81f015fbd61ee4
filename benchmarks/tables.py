"""Rows of figures, as Markdown for people and as JSON lines for programs."""

import json
from collections.abc import Iterable
from pathlib import Path

Value = float | str | None
Row = dict[str, Value]


def text_of(value: Value) -> str:
    """Writes a figure with three significant digits; ``-`` for what was not measured."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown(rows: list[Row]) -> str:
    """Makes a table; its columns are all that the rows have, in the order they first come."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [_line(columns), "|---" * len(columns) + "|"]
    lines += [_line(text_of(row.get(name)) for name in columns) for row in rows]
    return "\n".join(lines)


class Recorder:
    """Prints a table row by row, and appends each row to a file at once: nothing is lost at a stop.

    Args:
        table: Name of the table.
        path: File of JSON lines, each with the table's name and a row; none if None.
    """

    def __init__(self, table: str, path: Path | None = None) -> None:
        self._table = table
        self._path = path
        self._columns: list[str] = []

    def add(self, row: Row) -> None:
        """Takes a row; one with other columns than the last begins a new table on the screen."""
        lines = markdown([row]).splitlines()
        if list(row) != self._columns:
            print("", *lines[:2], sep="\n")
            self._columns = list(row)
        print(lines[2], flush=True)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"table": self._table, "row": row}) + "\n")


def read(path: Path) -> dict[str, list[Row]]:
    """Reads the rows of each table from a file that recorders wrote."""
    tables: dict[str, list[Row]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            tables.setdefault(entry["table"], []).append(entry["row"])
    return tables
