"""Progress bars on standard error."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

_T = TypeVar("_T")


def progress(items: Iterable[_T], text: str, total: int | None, least: int = 0) -> Iterator[_T]:
    """Iterates over items, and shows a progress bar on standard error meanwhile.

    Args:
        items: Items to iterate over.
        text: Description of the work, shown beside the bar.
        total: Number of items; None if it is unknown.
        least: Smallest number of items for which a bar is shown.

    Yields:
        The items.
    """
    bar = Progress(
        *Progress.get_default_columns(),
        console=Console(stderr=True),
        transient=True,
        disable=total is not None and total < least,
        # On a terminal, rich prints other output above the bar. If standard output is a file or a
        # pipe, rich would send that output to standard error instead.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bar:
        yield from bar.track(items, total=total, description=text)
