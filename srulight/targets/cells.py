"""Reads targets from the cells of tables."""

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from srulight.data.cells import as_number, read_cell


def is_missing(value: Any) -> bool:  # noqa: ANN401
    """Returns whether the cell of a class is null, NaN or blank; "NA" may be its name."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def number(value: Any, column: str, place: str) -> float:  # noqa: ANN401
    """Returns the number in a cell, and NaN if it is missing.

    Args:
        value: The cell, as ``as_number`` takes it.
        column: Name of its column, for the error message.
        place: Place of its row, for the error message.

    Raises:
        InputError: If the cell is neither missing nor a finite number.
    """
    return read_cell(as_number, value, column, place)


def flag(value: Any, column: str, place: str) -> float:  # noqa: ANN401
    """Returns 1 if a label applies, 0 if it does not, and NaN if this is unknown.

    Args:
        value: The cell: 0, 1, false or true, as a value or as text; missing as for ``number``.
        column: Name of its column, for the error message.
        place: Place of its row, for the error message.

    Raises:
        InputError: If the cell has another value.
    """
    return read_cell(_as_flag, value, column, place)


def _as_flag(value: Any) -> float:  # noqa: ANN401
    try:
        found = as_number(value)
    except ValueError:
        found = math.inf
    if found not in (0, 1) and not math.isnan(found):
        raise ValueError("0 or 1")
    return found


def sorted_names(names: Iterable[str]) -> list[str]:
    """Sorts names of classes: numerically if all are integers, otherwise alphabetically.

    Args:
        names: The names, each once.
    """
    found = list(names)
    try:
        return sorted(found, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(found)
