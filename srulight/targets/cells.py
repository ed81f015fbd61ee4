"""Reads targets from the cells of tables."""

import math
from decimal import Decimal
from typing import Any

from srulight.runtime.errors import InputError

_MISSING = ("", "nan", "na", "null")
_LARGEST = 3.4e38  # float32
_FLAGS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


def is_missing(value: Any) -> bool:  # noqa: ANN401
    """Returns whether a cell is null, NaN or blank."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def number(value: Any, column: str, place: str) -> float:  # noqa: ANN401
    """Returns the number in a cell, and NaN if the cell is missing, or says "nan", "NA" or "null".

    Args:
        value: The cell.
        column: Name of its column, for the error message.
        place: Place of its row, for the error message.

    Raises:
        InputError: If the cell is neither missing nor a finite number.
    """
    if _is_missing_number(value):
        return math.nan
    try:
        found = float(value) if isinstance(value, str | int | float | Decimal) else math.inf
    except (ValueError, OverflowError):
        found = math.inf
    if not abs(found) < _LARGEST:
        raise InputError(
            f"{place}: expected a finite number in column {column!r}, got {value!r:.60}; correct "
            "it, or leave the cell empty"
        )
    return found


def flag(value: Any, column: str, place: str) -> float:  # noqa: ANN401
    """Returns 1 if a label applies, 0 if it does not, and NaN if this is unknown.

    Args:
        value: The cell: 0, 1, false or true, as a value or as text; missing as for ``number``.
        column: Name of its column, for the error message.
        place: Place of its row, for the error message.

    Raises:
        InputError: If the cell has another value.
    """
    if _is_missing_number(value):
        return math.nan
    found = _FLAGS.get(str(value).strip().lower())
    if found is None:
        raise InputError(
            f"{place}: expected 0 or 1 in column {column!r}, got {value!r:.60}; correct it, or "
            "leave the cell empty"
        )
    return found


def _is_missing_number(value: Any) -> bool:  # noqa: ANN401
    if isinstance(value, str):
        return value.strip().lower() in _MISSING
    return is_missing(value)
