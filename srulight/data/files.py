"""What the corpora of files share: reading lines, and holding a tenth of the examples out."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from srulight.errors import InputError

_T = TypeVar("_T")


def read_text(path: Path, encoding: str, remedy: str) -> str:
    """Reads a whole file.

    Args:
        path: The file.
        encoding: How its characters are stored, as Python names it; a byte order mark is dropped.
        remedy: What to do when the file is missing, to end the sentence of the error.

    Returns:
        The text, which holds something else than white space.

    Raises:
        InputError: If the file is missing, empty or stored in another way.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path.name} is not in {path.parent.absolute()}; {remedy}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: byte {data[error.start]:#04x} is not {encoding}; save the file as "
            "UTF-8, or set the corpus's encoding if it has that option (often latin-1)"
        ) from error
    except LookupError as error:
        raise InputError(
            f"encoding must be one that Python knows, such as utf-8 or latin-1; got {encoding!r}"
        ) from error
    if not text.strip():
        raise InputError(f"{path} is empty")
    return text.removeprefix("\ufeff")


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Splits text at line ends only, unlike ``str.splitlines``, and leaves blank lines out.

    Args:
        text: Content of a file.

    Returns:
        The number of each line, from 1, and the line without its end.
    """
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line.removesuffix("\r")) for number, line in lines if line.strip()]


def hold_out(examples: Sequence[_T]) -> tuple[list[_T], list[_T]]:
    """Takes a tenth of the examples away, always the same ones.

    Args:
        examples: Two examples or more.

    Returns:
        The other nine tenths and the tenth, each in the order given.

    Raises:
        InputError: If there is only one example.
    """
    if len(examples) < 2:
        raise InputError("a validation set cannot be held out of fewer than two examples")
    order = list(range(len(examples)))
    random.Random(1234).shuffle(order)
    held = set(order[: max(1, len(examples) // 10)])
    rest = [example for i, example in enumerate(examples) if i not in held]
    return rest, [examples[i] for i in sorted(held)]
