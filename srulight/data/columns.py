"""Reads chosen columns of large tables into arrays.

If pyarrow is installed, it reads CSV, TSV and Parquet. Whatever it cannot read, or might read
differently, is read row by row instead, with the same result or with an exact error.
"""

import codecs
import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from lightning_utilities.core.imports import module_available
from numpy.typing import NDArray

from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.files import GZIP
from srulight.runtime.records import table_rows

LARGEST = 3.4e38
"""Numbers from here on count as infinite, because they do not fit into float32."""

_HEAD = 1000  # rows from which the contents of a column are guessed
_PIECE = 4096  # rows that are converted together
_BLOCK = 1 << 20  # bytes, few enough for the cache of a processor
_MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None",
)  # fmt: skip
_MISSING_WORDS = frozenset(word.lower() for word in _MISSING)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_NUMERIC_SIGNS = frozenset("0123456789+-.eE")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Column(NamedTuple):
    """What to read from a column.

    Attributes:
        kind: "number"; "text"; or "time", which is a number or an ISO 8601 date.
        option: Option that names the column, for error messages.
        remedy: What to do about a cell that is no number or time, for error messages.
    """

    kind: Literal["number", "text", "time"]
    option: str
    remedy: str = "correct it, or leave the cell empty"


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


class _Odd(Exception):
    """The table must be read row by row."""


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
                    f"{listed([*self.first])}; correct {column.option}"
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
            except _Odd:
                pass
        return self._by_rows(columns)

    def _fast(self, columns: Mapping[str, Column]) -> Columns:
        """Reads columns with pyarrow; raises _Odd if the rows must be read one by one."""
        if self.path.suffix not in (".csv", ".tsv"):
            raise _Odd
        table = self._read_text(columns)
        numbers, texts = {}, {}
        for name, column in columns.items():
            if column.kind == "text":
                texts[name] = _texts_of(table[name])
            else:
                numbers[name] = _numbers_of(table[name])
        return Columns(len(table), numbers, texts, self._place)

    def _read_text(self, columns: Mapping[str, Column]) -> Any:  # noqa: ANN401
        import pyarrow
        from pyarrow import csv

        is_quoted = _check_text(self.path)
        types = {name: _arrow_type(c, self.first[name], pyarrow) for name, c in columns.items()}
        tabs = self.path.suffix == ".tsv"  # quotes have no special meaning there
        try:
            return csv.read_csv(
                self.path,
                read_options=csv.ReadOptions(block_size=1 << 22),
                parse_options=csv.ParseOptions(
                    delimiter="\t" if tabs else ",",
                    quote_char=False if tabs else '"',
                    double_quote=not tabs,
                    newlines_in_values=is_quoted and not tabs,
                ),
                convert_options=csv.ConvertOptions(
                    column_types=types, include_columns=list(columns), null_values=_MISSING
                ),
            )
        except pyarrow.ArrowException as error:
            raise _Odd from error

    @cached_property
    def _lines(self) -> list[int]:
        return [number for number, _ in table_rows(self.path, self.remedy, Faults())]

    def _place(self, row: int) -> str:
        return f"{self.path}:{self._lines[row]}"

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
                cells = [row.get(name) for _, row in piece]
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
                    f"{column.remedy}"
                )
                found.append(convert(None))
        return found


def is_missing(value: Any) -> bool:  # noqa: ANN401
    """Returns whether a cell is null, NaN, blank, or a word for a missing number, such as NA."""
    if isinstance(value, str):
        return value.strip().lower() in _MISSING_WORDS
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def as_number(value: Any) -> float:  # noqa: ANN401
    """Returns the number in a cell, and NaN if the cell is missing; true is 1, and false is 0.

    Args:
        value: The cell.

    Raises:
        ValueError: If the cell is neither missing nor a finite number. The message says what was
            expected.
    """
    if isinstance(value, str):
        value = value.strip()
        if value.lower() in _MISSING_WORDS:
            return math.nan
        if value.lower() in ("true", "false"):
            return float(value.lower() == "true")
        if not _NUMBER.fullmatch(value) and not _INFINITE.fullmatch(value):
            raise ValueError("a number")
    elif value is None:
        return math.nan
    elif not isinstance(value, int | float | Decimal):
        raise ValueError("a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if abs(found) >= LARGEST:
        raise ValueError("a finite number")
    return found


def as_time(value: Any) -> float:  # noqa: ANN401
    """Returns the time in a cell: a number, or a date in seconds since 1970 in UTC.

    Args:
        value: The cell; missing as for ``as_number``. Dates without a time zone are in UTC.

    Raises:
        ValueError: If the cell is neither missing nor a time. The message says what was expected.
    """
    if isinstance(value, datetime):
        found = value
    else:
        try:
            return as_number(value)
        except ValueError:
            try:
                found = datetime.fromisoformat(str(value).strip())
            except ValueError:
                raise ValueError("a number or an ISO 8601 date") from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return (found - _EPOCH) // timedelta(microseconds=1) / 1e6


def as_text(value: Any) -> str:  # noqa: ANN401
    """Returns the text in a cell, and the empty string if the cell is null or NaN.

    Args:
        value: The cell. Whole numbers lose their fraction, because many programs store them as
            floating point if some are missing. The items of a list are joined by semicolons.

    Raises:
        ValueError: If the cell contains nested values. The message says what was expected.
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list) and not any(isinstance(one, list | dict) for one in value):
        return ";".join(map(as_text, value))
    if isinstance(value, list | dict | bytes):
        raise ValueError("text")
    return str(value)


def listed(names: Sequence[str], most: int = 20) -> str:
    """Returns names separated by commas, at most the first few.

    Args:
        names: The names.
        most: Largest number of names to show.
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


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


def _numbers_of(column: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Converts a column that pyarrow has read; raises _Odd if it contains odd numbers."""
    import pyarrow
    from pyarrow import types

    if types.is_timestamp(column.type):
        whole = column.cast(pyarrow.timestamp("us", column.type.tz)).cast(pyarrow.int64())
        found = whole.cast(pyarrow.float64(), safe=False).to_numpy() / 1e6
    else:
        found = column.cast(pyarrow.float64(), safe=False).to_numpy()
    # Infinite numbers need an exact message; and pyarrow reads words such as "nan(1)" as NaN.
    if (np.abs(found) >= LARGEST).any() or np.isnan(found).sum() != column.null_count:
        raise _Odd
    return found


def _texts_of(column: Any) -> Texts:  # noqa: ANN401
    """Converts a column of texts that pyarrow has read."""
    whole = column.unify_dictionaries().combine_chunks()
    values = whole.dictionary.to_pylist()
    # The csv module reads lines, so that it does not see the line endings within a cell.
    index: dict[str, int] = {}
    merged = [index.setdefault(value.replace("\r\n", "\n"), len(index)) for value in values]
    codes = np.array(merged, dtype=np.int64)[whole.indices.to_numpy()]
    return Texts(codes, [*index])


def _check_text(path: Path) -> bool:
    """Returns whether a table has quotes; raises _Odd if pyarrow may read other cells from it.

    pyarrow is more lenient than the csv module of Python: it takes text after closing quotes, lone
    carriage returns and bytes that are not UTF-8.
    """
    commas = path.suffix == ".csv"
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_quoted, is_inside = False, False
    for block in _blocks(path):
        if block.startswith(GZIP) or block.count(b"\r") != block.count(b"\r\n"):
            raise _Odd
        try:
            block.isascii() or decoder.decode(block)
        except UnicodeDecodeError as error:
            raise _Odd from error
        if commas and b'"' in block:
            is_quoted = True
            is_inside = _check_quotes(block, is_inside)
        if not commas and re.search(rb"^[\s\x1c-\x1f]+$", block, re.MULTILINE):
            raise _Odd  # such lines are blank, not cells
    if is_inside:
        raise _Odd
    return is_quoted


def _blocks(path: Path) -> Iterator[bytes]:
    """Yields whole lines of a file, many at a time, without a byte order mark."""
    with path.open("rb") as file:
        first = file.read(3)
        rest = b"" if first == codecs.BOM_UTF8 else first
        while block := rest + file.read(_BLOCK):
            yield block + file.readline()
            rest = b""


def _check_quotes(block: bytes, is_inside: bool) -> bool:
    """Raises _Odd unless quotes enclose whole cells, or are doubled in such cells.

    Args:
        block: Whole lines.
        is_inside: Whether the block begins within quotes.

    Returns:
        Whether the block ends within quotes.
    """
    signs = np.frombuffer(b"\n" + block + b"\n", dtype=np.uint8)
    places = np.flatnonzero(signs == ord('"'))
    opens = (np.arange(len(places)) % 2 == 0) ^ is_inside
    before, after = signs[places - 1], signs[places + 1]
    allowed = np.where(
        opens, np.isin(before, [*b',\n"']), np.isin(after, [*b',\r\n"'])
    )  # a quote beside a quote is one of two
    if not allowed.all():
        raise _Odd
    return bool(len(places) % 2) ^ is_inside
