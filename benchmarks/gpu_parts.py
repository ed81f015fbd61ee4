"""Types and functions that the parts of a GPU session share."""

import sys
from pathlib import Path
from typing import NamedTuple, Protocol

from srulight.bench.tables import Row

ROOT = Path(__file__).parents[1]


class Finished(NamedTuple):
    """A command that has ended.

    Attributes:
        code: Exit status. None if the command was stopped at the time limit of its part.
        output: Everything that it wrote.
    """

    code: int | None
    output: str

    def complaints(self, what: str) -> list[str]:
        """Returns a sentence about what went wrong, or nothing."""
        if self.code == 0:
            return []
        if self.code is None:
            return [f"{what} was stopped at its time limit"]
        lines = [line for line in self.output.splitlines() if line.strip()]
        return [
            f"{what} exited with status {self.code}: {lines[-1].strip() if lines else 'no output'}"
        ]


class Outcome(NamedTuple):
    """The results of a part.

    Attributes:
        failures: One sentence per failure.
        facts: Other results, by name.
        tables: Rows of each table, by its name.
    """

    failures: list[str]
    facts: dict[str, object]
    tables: dict[str, list[Row]]


class Session(Protocol):
    """The interface of a session that its parts use."""

    out: Path
    rehearsal: bool
    device: str
    wheels: Path
    site: Path
    prebuilt: Path
    environment: dict[str, str]
    part_end: float

    def say(self, text: str) -> None:
        """Prints and logs a line."""

    def command(
        self, *command: str, quiet: bool = False, environment: dict[str, str] | None = None
    ) -> Finished:
        """Runs a command until it ends or reaches the time limit of its part.

        Args:
            command: Words of the command.
            quiet: Whether to log its output as a whole instead of printing it. Commands that run at
                the same time need this.
            environment: Environment variables in addition to those of the session.

        Returns:
            The exit status and the output.
        """


def python(session: Session, code: str, environment: dict[str, str] | None = None) -> Finished:
    """Runs a piece of Python code in a process of its own."""
    return session.command(sys.executable, "-c", code, environment=environment)
