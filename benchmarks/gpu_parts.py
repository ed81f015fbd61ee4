"""What the parts of a GPU session have in common."""

import sys
from pathlib import Path
from typing import NamedTuple, Protocol

from tables import Row


class Finished(NamedTuple):
    """A command that has ended.

    Attributes:
        code: Its exit status; None if its part's time was up.
        output: What it wrote.
    """

    code: int | None
    output: str

    def complaints(self, what: str) -> list[str]:
        """Says in a sentence what went wrong, if anything did."""
        if self.code == 0:
            return []
        if self.code is None:
            return [f"{what} was stopped at its limit of time"]
        lines = [line for line in self.output.splitlines() if line.strip()]
        return [f"{what} ended with {self.code}: {lines[-1].strip() if lines else 'no output'}"]


class Outcome(NamedTuple):
    """What a part found.

    Attributes:
        failures: A sentence for each thing that failed.
        facts: What else is worth keeping.
        tables: Rows by the name of their table.
    """

    failures: list[str]
    facts: dict[str, object]
    tables: dict[str, list[Row]]


class Session(Protocol):
    """What parts need of the session."""

    out: Path
    rehearsal: bool
    device: str
    wheels: Path
    site: Path
    prebuilt: Path
    environment: dict[str, str]
    part_end: float

    def say(self, text: str) -> None:
        """Shows and logs a line."""

    def command(
        self, *command: str, quiet: bool = False, environment: dict[str, str] | None = None
    ) -> Finished:
        """Runs a command to its end, or to the end of its part's time.

        Args:
            command: The command.
            quiet: Whether its output is only logged, as a whole: for several at a time.
            environment: Variables besides those of the session.
        """


def python(session: Session, code: str, environment: dict[str, str] | None = None) -> Finished:
    """Runs a few lines of Python."""
    return session.command(sys.executable, "-c", code, environment=environment)
