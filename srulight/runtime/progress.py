"""Progress bars on standard error."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

_T = TypeVar("_T")


def progress(items: Iterable[_T], text: str, total: int | None, least: int = 0) -> Iterator[_T]:
    """Shows a bar on standard error while items are taken; it vanishes at the end.

    Args:
        items: What to go through.
        text: What is done meanwhile.
        total: Number of items; None if it is not known.
        least: Number of items that are worth a bar.
    """
    bar = Progress(
        *Progress.get_default_columns(),
        console=Console(stderr=True),
        transient=True,
        disable=total is not None and total < least,
        # On a terminal, what is printed meanwhile goes above the bar. But rich would take it away
        # from a file or a pipe, too, and put it on standard error.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bar:
        yield from bar.track(items, total=total, description=text)
