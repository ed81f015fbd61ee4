"""How far a loop is."""

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

_T = TypeVar("_T")


def progress(items: Iterable[_T], text: str, total: int, least: int = 0) -> Iterable[_T]:
    """Shows a bar on standard error while items are taken; it vanishes at the end.

    Args:
        items: What to go through.
        text: What is done meanwhile.
        total: Number of items.
        least: Number of items that are worth a bar.
    """
    console = Console(stderr=True)
    return track(items, text, total, console=console, transient=True, disable=total < least)
