"""Describes the examples of a data set before training."""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor


def describe_lengths(lengths: Sequence[int] | Tensor, unit: str) -> str:
    """Describes lengths in a few words: their median, 95th percentile and maximum.

    Args:
        lengths: Number of steps of each example, at least one example.
        unit: Name of a step in the singular, such as "word".
    """
    ordered = torch.as_tensor(lengths).sort().values
    median, most = (int(ordered[-(-len(ordered) * share // 100) - 1]) for share in (50, 95))
    plural = "" if median == 1 else "s"
    return f"median {median:,} {unit}{plural}, 95% at most {most:,}, longest {int(ordered[-1]):,}"


def leakage(parts: Mapping[str, Sequence[Hashable]], examples: str) -> str | None:
    """Counts the examples that are in the training part, too.

    Args:
        parts: Examples of each part, without their targets, by its name; one is "train".
        examples: Name of the examples in the plural, such as "sentences".

    Returns:
        A line to log, or None if there are none.
    """
    train = set(parts["train"])
    found = []
    for name, part in parts.items():
        repeated = 0 if name == "train" else sum(example in train for example in part)
        if repeated:
            found.append(f"{repeated:,} of {len(part):,} {name} {examples}")
    if not found:
        return None
    return (
        f"{' and '.join(found)} are also in the training data, so the scores will be too good; "
        "remove them from one of the two"
    )
