"""Reads chosen columns of large tables into arrays.

If pyarrow is installed, it reads CSV, TSV and Parquet. Whatever it cannot read, or might read
differently, is read row by row instead, with the same result or with an exact error.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from lightning_utilities.core.imports import module_available
from numpy.typing import NDArray

from srulight.data.cells import LARGEST, MISSING, as_number, as_text, as_time, is_missing, is_number
from srulight.data.delimited import OddTableError, check_text
from srulight.runtime.arrow import PARQUET, arrow_batches, class_names, is_dataset, named
from srulight.runtime.errors import InputError, listed
from srulight.runtime.faults import Faults
from srulight.runtime.records import table_rows

_HEAD = 1000  # rows from which the contents of a column are guessed
_PIECE = 4096  # rows that are converted together
_ROWS = 1 << 16  # rows that are read together
_PARSED = 1 << 22  # bytes that a thread parses together; a row must be shorter
_NUMERIC_SIGNS = frozenset("0123456789+-.eE")


class Column(NamedTuple):
    """What to read from a column.

    Attributes:
        kind: "number"; "text"; or "time", which is a number or an ISO 8601 date.
        if_absent: What to do if the table lacks the column, as the last clause of the message.
        if_wrong: What to do about a cell of another kind, as the last clause of the message.
    """

    kind: Literal["number", "text", "time"]
    if_absent: str
    if_wrong: str = "correct it, or leave the cell empty"


class Texts(NamedTuple):
    """A column of texts.

    Attributes:
        codes: Index of the text of each row, (R,) int64.
        values: The different texts; the empty string where a cell is missing.
    """

    codes: NDArray[np.int64]
    values: list[str]


class Columns(NamedTuple):
    """The columns of a table.

    Attributes:
        size: Number of rows, R.
        numbers: Columns of numbers and of times, (R,) float64, by name; NaN where missing, never
            infinite. Dates become seconds since 1970 in UTC.
        texts: Columns of texts by name.
        place: Returns the place of a row for messages, such as ``train.csv:17``.
    """

    size: int
    numbers: dict[str, NDArray[np.float64]]
    texts: dict[str, Texts]
    place: Callable[[int], str]


class TableFile:
    """A table, which need not fit into memory with all its columns.

    Args:
        path: Path of the table, as ``table_rows`` takes it.
        remedy: What to do if the file is missing, as the last clause of the error message.

    Raises:
        InputError: If the file is missing, has no rows, or is not a table.

    Attributes:
        first: The first value that is not missing of each column, within the first 1,000 rows; None
            if there is none.
    """

    def __init__(self, path: Path, remedy: str) -> None:
        self.path = path
        self.remedy = remedy
        self.first: dict[str, Any] = {}
        faults = Faults()
        for _, row in islice(table_rows(path, remedy, faults), _HEAD):
            for name, value in row.items():
                if self.first.get(name) is None:
                    self.first[name] = None if is_missing(value) else value
        if not self.first:
            faults.refuse()
            raise InputError(f"{path}: expected rows below the header, got none")

    def require(self, columns: Mapping[str, Column]) -> None:
        """Raises InputError for the first column that the table lacks.

        Args:
            columns: What is to be read, by the names of the columns.
        """
        for name, column in columns.items():
            if name not in self.first:
                near = difflib.get_close_matches(name, self.first, 1, 0.7)
                meant = f" (did you mean {near[0]!r}?)" if near else ""
                raise InputError(
                    f"{self.path}: expected a column {name!r}{meant}, got the columns "
                    f"{listed([*self.first])}; {column.if_absent}"
                )

    def read(self, columns: Mapping[str, Column]) -> Columns:
        """Reads columns.

        Args:
            columns: What to read, by the names of the columns.

        Raises:
            InputError: If the table lacks a column, or cells or rows are not as expected.
        """
        self.require(columns)
        if module_available("pyarrow"):
            try:
                return self._fast(columns)
            except OddTableError:
                pass
        return self._by_rows(columns)

    @property
    def numeric(self) -> list[str]:
        """Names of the columns whose first value is a number."""
        return [name for name, value in self.first.items() if is_number(value)]

    def _fast(self, columns: Mapping[str, Column]) -> Columns:
        """Reads columns with pyarrow; raises OddTableError if the rows must be read one by one."""
        import pyarrow

        is_text = self.path.suffix in (".csv", ".tsv")
        if not is_text and self.path.suffix != PARQUET and not is_dataset(self.path):
            raise OddTableError
        try:
            if is_text:
                table, names = self._read_text(columns), {}
            else:
                batches = arrow_batches(self.path, self.remedy, list(columns), _ROWS)
                table = pyarrow.Table.from_batches(batches)
                names = class_names(self.path, table.schema)
            numbers, texts = {}, {}
            for name, column in columns.items():
                if column.kind == "text":
                    texts[name] = _texts_of(table[name], names.get(name))
                elif name in names:
                    raise OddTableError
                else:
                    numbers[name] = _numbers_of(table[name], column.kind == "time", is_text)
        except (pyarrow.ArrowException, ValueError) as error:
            raise OddTableError from error
        return Columns(len(table), numbers, texts, self._place if is_text else self._row_place)

    def _read_text(self, columns: Mapping[str, Column]) -> Any:  # noqa: ANN401
        import pyarrow
        from pyarrow import csv

        is_quoted = check_text(self.path)
        types = {name: _arrow_type(c, self.first[name], pyarrow) for name, c in columns.items()}
        tabs = self.path.suffix == ".tsv"  # quotes have no special meaning there
        return csv.read_csv(
            self.path,
            read_options=csv.ReadOptions(block_size=_PARSED),
            parse_options=csv.ParseOptions(
                delimiter="\t" if tabs else ",",
                quote_char=False if tabs else '"',
                double_quote=not tabs,
                newlines_in_values=is_quoted and not tabs,
            ),
            convert_options=csv.ConvertOptions(
                column_types=types, include_columns=list(columns), null_values=MISSING
            ),
        )

    @cached_property
    def _lines(self) -> list[int]:
        return [number for number, _ in table_rows(self.path, self.remedy, Faults())]

    def _place(self, row: int) -> str:
        return f"{self.path}:{self._lines[row]}"

    def _row_place(self, row: int) -> str:
        return f"{self.path}:{row + 1}"

    def _by_rows(self, columns: Mapping[str, Column]) -> Columns:
        faults = Faults()
        rows = table_rows(self.path, self.remedy, faults)
        lines: list[int] = []
        numbers: dict[str, list[NDArray[np.float64]]] = {}
        codes: dict[str, list[int]] = {}
        indices: dict[str, dict[str, int]] = {}
        for name, column in columns.items():
            if column.kind == "text":
                codes[name], indices[name] = [], {}
            else:
                numbers[name] = []
        while piece := list(islice(rows, _PIECE)):
            places = [number for number, _ in piece]
            lines += places
            for name, column in columns.items():
                cells: list[Any] = [row.get(name) for _, row in piece]
                if column.kind == "text":
                    if not all(isinstance(cell, str) for cell in cells):
                        cells = self._converted(as_text, cells, name, column, places, faults)
                    index = indices[name]
                    for text in dict.fromkeys(cells):
                        index.setdefault(text, len(index))
                    codes[name] += map(index.__getitem__, cells)
                else:
                    numbers[name].append(self._values(cells, name, column, places, faults))
        faults.refuse()
        return Columns(
            len(lines),
            {name: np.concatenate(pieces) for name, pieces in numbers.items()},
            {n: Texts(np.array(codes[n], dtype=np.int64), [*indices[n]]) for n in codes},
            lambda row: f"{self.path}:{lines[row]}",
        )

    def _values(
        self, cells: list[Any], name: str, column: Column, lines: Sequence[int], faults: Faults
    ) -> NDArray[np.float64]:
        """Converts cells of a column to numbers."""
        try:
            # Among these signs, float() takes exactly what as_number takes.
            if _NUMERIC_SIGNS.issuperset("".join(cells)):
                found = np.array([float(cell) if cell else math.nan for cell in cells])
                if not (np.abs(found) >= LARGEST).any():
                    return found
        except (TypeError, ValueError):
            pass
        convert = as_time if column.kind == "time" else as_number
        return np.array(self._converted(convert, cells, name, column, lines, faults))

    def _converted(
        self,
        convert: Callable[[Any], Any],
        cells: list[Any],
        name: str,
        column: Column,
        lines: Sequence[int],
        faults: Faults,
    ) -> list[Any]:
        found = []
        for cell, line in zip(cells, lines, strict=True):
            try:
                found.append(convert(cell))
            except ValueError as error:
                faults.add(
                    f"{self.path}:{line}: expected {error} in column {name!r}, got {cell!r:.60}; "
                    f"{column.if_wrong}"
                )
                found.append(convert(None))
        return found


def _arrow_type(column: Column, first: Any, pyarrow: Any) -> Any:  # noqa: ANN401
    """Returns the type as which pyarrow reads a column of text, judged by its first value."""
    if column.kind == "text":
        return pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    first = str(first).strip().lower()
    if first in ("true", "false"):
        return pyarrow.bool_()
    if column.kind == "time" and re.match(r"\d{4}-\d", first):
        has_zone = re.search(r":.*(z|[+-][\d:]+)$", first)
        return pyarrow.timestamp("us", "UTC" if has_zone else None)
    return pyarrow.float64()


def _numbers_of(column: Any, is_time: bool, is_text: bool) -> NDArray[np.float64]:  # noqa: ANN401
    """Converts a column that pyarrow has read; raises OddTableError if it contains odd numbers."""
    import pyarrow
    from pyarrow import types

    kind, scale = column.type, 1.0
    if is_time and (types.is_temporal(kind)):
        whole = pyarrow.duration("us") if types.is_duration(kind) else pyarrow.timestamp("us")
        zoned = pyarrow.timestamp("us", kind.tz) if types.is_timestamp(kind) else whole
        column, scale = column.cast(zoned, safe=False).cast(pyarrow.int64()), 1e6
    elif not (types.is_primitive(kind) or types.is_decimal(kind)) or types.is_temporal(kind):
        raise OddTableError
    found = column.cast(pyarrow.float64(), safe=False).to_numpy() / scale
    # Infinite numbers need an exact message; and pyarrow reads texts such as "nan(1)" as NaN.
    has_odd = is_text and np.isnan(found).sum() != column.null_count
    if has_odd or (np.abs(found) >= LARGEST).any():
        raise OddTableError
    return found


def _texts_of(column: Any, names: list[str] | None) -> Texts:  # noqa: ANN401
    """Converts a column that pyarrow has read; the names are those of classes, if they have any."""
    from pyarrow import types

    if not types.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    values = whole.dictionary.to_pylist()
    if names is not None:
        values = [named(value, names) for value in values]
    # The csv module reads lines, so that it does not see the line endings within a cell.
    texts = [as_text(value).replace("\r\n", "\n") for value in values] + [""]
    index = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    merged = np.array([index[text] for text in texts], dtype=np.int64)
    places = whole.indices.fill_null(len(values)) if whole.null_count else whole.indices
    return Texts(merged[places.to_numpy()], [*index])
