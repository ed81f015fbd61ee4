"""Mistakes in a file, told all at once."""

from srulight.runtime.errors import InputError

_SHOWN = 10


class Faults:
    """Collects what is wrong with the rows of a file, so that it can be mended in one go."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._count = 0

    def add(self, fault: object) -> None:
        """Adds one.

        Args:
            fault: A sentence, or the error that has it: where, what was expected, what came.
        """
        self._count += 1
        if self._count <= _SHOWN:
            self._said.append(str(fault))

    def refuse(self) -> None:
        """Raises InputError with the first ten, and how many there are, if there are any."""
        if self._count == 1:
            raise InputError(self._said[0])
        if self._count:
            more = [f"and {self._count - _SHOWN} more"] if self._count > _SHOWN else []
            raise InputError("\n  ".join([f"{self._count} rows are wrong:", *self._said, *more]))
