"""Errors that users can fix."""

import math
from collections.abc import Sequence

LARGEST_SEED = (1 << 63) - 1
"""The largest seed that torch accepts."""


class InputError(ValueError):
    """An input that cannot be used, such as a file, an option or an argument.

    The message makes sense alone: it says where the problem is (file and line, or option), what was
    expected, what came instead, and what to do. The command line prints it without a traceback.
    """


def listed(items: Sequence[str], most: int = 20, separator: str = ", ") -> str:
    """Returns a list for a message, at most the first few items and the number of the others.

    Args:
        items: The items.
        most: Largest number of items to show.
        separator: What stands between them.
    """
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return separator.join(items[:most]) + more


def check_range(least: float, most: float = math.inf, /, **numbers: float | None) -> None:
    """Raises InputError for the first number that is out of range, infinite or not a number.

    Args:
        least: Smallest allowed value.
        most: Largest allowed value; infinity means no limit.
        **numbers: Numbers by the names of their settings. None, which means unset, is allowed.
    """
    for name, number in numbers.items():
        if number is not None and not (least <= number <= most and number < math.inf):
            allowed = f"at least {least}" if most == math.inf else f"{least} to {most}"
            raise InputError(f"{name} must be {allowed}, got {number}")
