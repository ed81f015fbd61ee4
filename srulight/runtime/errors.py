"""Errors that are the user's to mend."""

import math

LARGEST_SEED = (1 << 63) - 1
"""Of those that torch takes."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is a sentence that stands alone: what was expected, what came, where (file and line,
    or setting), and what to do. The command line prints it without a traceback.
    """


def check_range(least: float, most: float = math.inf, /, **numbers: float | None) -> None:
    """Raises InputError for the first number that is out of its range, infinite or not a number.

    Args:
        least: The smallest that is allowed.
        most: The largest that is allowed; infinity for no limit.
        **numbers: Numbers by the names of their settings; None is not given, and allowed.
    """
    for name, number in numbers.items():
        if number is not None and not (least <= number <= most and number < math.inf):
            allowed = f"at least {least}" if most == math.inf else f"{least} to {most}"
            raise InputError(f"{name} must be {allowed}, got {number}")
