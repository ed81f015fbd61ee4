"""The parser of the commands whose options do not come from a task."""

import argparse
from typing import NoReturn


class ArgumentParser(argparse.ArgumentParser):
    """A parser with the short errors of the other commands."""

    def error(self, message: str) -> NoReturn:
        """Prints the error and exits with status 2."""
        self.exit(2, f"error: {message}\n")
