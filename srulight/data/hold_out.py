"""A tenth of the examples held out, to choose a model by."""

import random
from collections.abc import Sequence
from typing import TypeVar

from srulight.runtime.errors import InputError

_T = TypeVar("_T")


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
