"""Describes targets before training, and points out those that look like a mistake."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from srulight.runtime.errors import InputError, listed
from srulight.targets.base import Kind

_SHOWN = 6
_NOUNS = {"class": "classes", "labels": "labels", "numbers": "numbers"}


def check_targets(kind: Kind, names: Sequence[str], targets: Tensor, examples: str) -> None:
    """Checks that the training data have something to learn.

    Args:
        kind: Kind of the targets.
        names: Names of the classes, labels or numbers.
        targets: Training targets, as ``describe_target`` takes them.
        examples: Name of the examples in the plural, such as "sentences".

    Raises:
        InputError: If all targets are missing; or if there are several, and all have the same
            class, or none of the labels and numbers ever changes.
    """
    known = _known(kind, targets)
    total = int(known.sum())
    if len(targets) and not total:
        raise InputError(
            f"expected training {examples} with a target, got {len(targets):,} without one; fill "
            "in the column of the targets, or name another one"
        )
    if len(targets) < 2 or not all(_constant(kind, names, targets)):
        return
    if kind == "class":
        raise InputError(
            f"expected training {examples} with at least two labels, got "
            f"{names[int(targets[known][0])]!r} for all {total}; add {examples} with another label"
        )
    raise InputError(
        f"expected training {examples} with different {_NOUNS[kind]}, got the same "
        f"{listed(names, _SHOWN)} for all; add {examples} with other {_NOUNS[kind]}"
    )


def describe_targets(kind: Kind, names: Sequence[str], targets: Tensor) -> str:
    """Describes targets in a few words: balance of classes and labels, range of numbers.

    Args:
        kind: Kind of the targets.
        names: Names of the classes, labels or numbers.
        targets: Targets, as ``describe_target`` takes them.
    """
    known = _known(kind, targets)
    missing = int((~known).sum())
    after = f"; {missing:,} missing" if missing else ""
    if not known.any():
        return f"{_NOUNS[kind]}: none known{after}"
    if kind == "numbers":
        said = []
        for name, column in zip(names, targets.double().T, strict=True):
            values = column[~column.isnan()]
            if len(values):
                low, high, mean = (float(f(values)) for f in (torch.min, torch.max, torch.mean))
                sd = float(values.std(correction=0))
                said.append(f"{name} mean {mean:.4g}, sd {sd:.4g}, min {low:.4g}, max {high:.4g}")
        return f"numbers: {listed(said, _SHOWN, '; ')}{after}"
    if kind == "class":
        shares = torch.bincount(targets[known], minlength=len(names)) / known.sum()
    else:
        shares = (targets == 1).sum(0) / known.sum(0).clamp_min(1)
    order = sorted(range(len(names)), key=lambda i: -shares[i])
    said = [f"{names[i]} {shares[i]:.1%}" for i in order if kind != "class" or shares[i]]
    return f"{_NOUNS[kind]}: {listed(said, _SHOWN)}{after}"


def suspicions(kind: Kind, names: Sequence[str], targets: Tensor, examples: str) -> Iterator[str]:
    """Points out training targets of which a model can learn little.

    Args:
        kind: Kind of the targets.
        names: Names of the classes, labels or numbers.
        targets: Training targets, as ``describe_target`` takes them.
        examples: Name of the examples in the plural, such as "sentences".

    Yields:
        Lines to log.
    """
    if kind == "class":
        counts = torch.bincount(targets[targets >= 0], minlength=len(names)).tolist()
        rare = [name for name, count in zip(names, counts, strict=True) if count < 2]
        if rare:
            yield (
                f"{len(rare):,} of {len(names):,} classes have at most one of the training "
                f"{examples}: {listed(rare, _SHOWN)}; add {examples}, or merge classes"
            )
        return
    known = (~targets.isnan()).any(0).tolist()
    same = [
        name
        for name, constant, some in zip(names, _constant(kind, names, targets), known, strict=True)
        if constant or not some
    ]
    if same:
        yield (
            f"{len(same):,} of {len(names):,} {_NOUNS[kind]} never change in the training "
            f"{examples}: {listed(same, _SHOWN)}; leave them out, or add {examples}"
        )


def _known(kind: Kind, targets: Tensor) -> Tensor:
    return targets >= 0 if kind == "class" else ~targets.isnan()


def _constant(kind: Kind, names: Sequence[str], targets: Tensor) -> list[bool]:
    """Returns whether each label or number, or the class, has one value wherever it is known."""
    if kind == "class":
        return [len(targets[targets >= 0].unique()) < 2]
    columns = [column[~column.isnan()] for column in targets.T]
    return [len(values) == 0 or bool((values == values[0]).all()) for values in columns]
