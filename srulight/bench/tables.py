"""Tables of figures, as Markdown for people and as JSON lines for programs."""

import json
from collections.abc import Iterable
from pathlib import Path

Value = float | str | None
Row = dict[str, Value]


def text_of(value: Value) -> str:
    """Formats a figure with three significant digits, and a missing one as ``-``."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown(rows: list[Row]) -> str:
    """Formats a table with the columns of all rows, in the order of their first appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [_line(columns), "|---" * len(columns) + "|"]
    lines += [_line(text_of(row.get(name)) for name in columns) for row in rows]
    return "\n".join(lines)


class Recorder:
    """Prints a table row by row, and appends each row to a file at once, so that none gets lost.

    Args:
        table: Name of the table.
        path: JSON lines file that receives the name of the table and the row. None means no file.
    """

    def __init__(self, table: str, path: Path | None = None) -> None:
        self._table = table
        self._path = path
        self._columns: list[str] = []

    def add(self, row: Row) -> None:
        """Adds a row. If its columns differ from those of the last row, a new table is printed."""
        lines = markdown([row]).splitlines()
        if list(row) != self._columns:
            print("", *lines[:2], sep="\n")
            self._columns = list(row)
        print(lines[2], flush=True)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"table": self._table, "row": row}) + "\n")


def read(path: Path) -> dict[str, list[Row]]:
    """Reads the rows of each table from a file that recorders have written."""
    tables: dict[str, list[Row]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            tables.setdefault(entry["table"], []).append(entry["row"])
    return tables
