"""What the training data say about a target."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from srulight.targets.base import Kind


def describe_target(
    kind: Kind, names: Sequence[str], columns: Sequence[str], targets: Tensor
) -> dict[str, Any]:
    """Returns the metadata of a target, from which ``build_target`` builds it.

    Args:
        kind: Kind of the target.
        names: Names of the classes, labels or numbers, in the order of the outputs.
        columns: Columns of a table that the targets were read from, if any.
        targets: Training targets: classes, (N,) int64, -100 where missing; or labels and numbers,
            (N, K), NaN where missing.
    """
    about: dict[str, Any] = {"kind": kind, "names": list(names), "columns": list(columns)}
    if kind == "class":
        counts = torch.bincount(targets[targets >= 0], minlength=len(names))
        return about | {"counts": counts.tolist()}
    known = ~targets.isnan()
    totals = known.sum(0)
    if kind == "labels":
        return about | {"counts": (targets == 1).sum(0).tolist(), "totals": totals.tolist()}
    values = targets.double().where(known, 0)
    mean = values.sum(0) / totals.clamp_min(1)
    spread = (values - mean).where(known, 0).square().sum(0) / totals.clamp_min(1)
    std = spread.sqrt()
    # A number that never changes is not scaled.
    return about | {"mean": mean.tolist(), "std": std.where(std > 0, 1).tolist()}


def standardize(targets: Tensor, metadata: dict[str, Any]) -> Tensor:
    """Standardizes numbers by the training data; classes and labels remain as they are.

    Args:
        targets: Targets, (...) or (..., K).
        metadata: Metadata of the target, as ``describe_target`` returns them.

    Returns:
        Targets as ``Target.loss`` takes them.
    """
    if metadata["kind"] != "numbers":
        return targets
    mean, std = (torch.tensor(metadata[name], dtype=torch.float64) for name in ("mean", "std"))
    return ((targets - mean) / std).float()
