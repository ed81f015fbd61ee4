"""Collects the errors in a file, so that users see them together."""

from srulight.runtime.errors import InputError

_SHOWN = 10


class Faults:
    """Collects errors in the rows of a file, so that users can fix them all at once.

    Args:
        collects: Whether to collect them; otherwise the first one is raised, which suits a stream.
    """

    def __init__(self, collects: bool = True) -> None:
        self._collects = collects
        self._said: list[str] = []
        self._count = 0

    def add(self, fault: object) -> None:
        """Adds an error, unless it has been added before, as where several clips share a table.

        Args:
            fault: Message, or an exception with a message, which says where the error is, what was
                expected and what came instead.

        Raises:
            InputError: If it does not collect errors.
        """
        if not self._collects:
            raise InputError(str(fault))
        if str(fault) in self._said:
            return
        self._count += 1
        if self._count <= _SHOWN:
            self._said.append(str(fault))

    def refuse(self) -> None:
        """Raises InputError with the first ten errors and their number, if there are any."""
        if self._count == 1:
            raise InputError(self._said[0])
        if self._count:
            more = [f"and {self._count - _SHOWN} more"] if self._count > _SHOWN else []
            raise InputError("\n  ".join([f"{self._count} rows have errors:", *self._said, *more]))
