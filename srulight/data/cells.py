"""Reads numbers, times and texts from the cells of tables."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from srulight.runtime.errors import InputError

_T = TypeVar("_T")

MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None",
)  # fmt: skip
"""Texts that stand for a missing number, in any case."""

LARGEST = 3.4e38
"""Numbers from here on count as infinite, because they do not fit into float32."""

_MISSING_WORDS = frozenset(word.lower() for word in MISSING)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_cell(convert: Callable[[Any], _T], value: Any, column: str, place: str) -> _T:  # noqa: ANN401
    """Converts a cell, and says where it is if that fails.

    Args:
        convert: One of the functions below.
        value: The cell.
        column: Name of its column.
        place: Place of its row.

    Raises:
        InputError: If the cell cannot be converted.
    """
    try:
        return convert(value)
    except ValueError as error:
        raise InputError(
            f"{place}: expected {error} in column {column!r}, got {value!r:.60}; correct it, or "
            "leave the cell empty"
        ) from error


def is_missing(value: Any) -> bool:  # noqa: ANN401
    """Returns whether a cell is null, NaN, blank, or a word for a missing number, such as NA."""
    if isinstance(value, str):
        return value.strip().lower() in _MISSING_WORDS
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def is_number(value: Any) -> bool:  # noqa: ANN401
    """Returns whether a cell is a number, finite or not, or one of true and false.

    Args:
        value: The cell.
    """
    if isinstance(value, str):
        value = value.strip()
        found = _NUMBER.fullmatch(value) or _INFINITE.fullmatch(value)
        return found is not None or value.lower() in ("true", "false")
    return isinstance(value, int | float | Decimal)


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
    elif value is None:
        return math.nan
    if not is_number(value):
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
    if isinstance(value, timedelta):
        return value / timedelta(seconds=1)
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
