"""Holds out a validation set."""

import random
from collections.abc import Sequence
from typing import TypeVar

from srulight.runtime.errors import InputError

_T = TypeVar("_T")


def hold_out(examples: Sequence[_T]) -> tuple[list[_T], list[_T]]:
    """Holds out a tenth of the examples, always the same ones.

    Args:
        examples: At least two examples.

    Returns:
        The remaining examples and the held-out ones, both in their original order.

    Raises:
        InputError: If there are fewer than two examples.
    """
    if len(examples) < 2:
        raise InputError(
            f"expected at least two training examples to hold out a validation set, got "
            f"{len(examples)}; add examples"
        )
    order = list(range(len(examples)))
    random.Random(1234).shuffle(order)
    held = set(order[: max(1, len(examples) // 10)])
    rest = [example for i, example in enumerate(examples) if i not in held]
    return rest, [examples[i] for i in sorted(held)]
