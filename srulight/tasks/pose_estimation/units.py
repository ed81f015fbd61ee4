"""The length of the body, in which errors of key points are measured."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from srulight.runtime.errors import InputError, check_range, listed
from srulight.tasks.pose_estimation.metrics import box_lengths
from srulight.video.corpus import Clip

Unit = float | list[str] | Literal["box"]
"""What the length of the body is, as ``PoseEstimationData`` takes it."""

BOX = "box"


def check_unit(unit: Unit) -> None:
    """Raises InputError if a unit is neither a length, nor two names, nor "box"."""
    if isinstance(unit, list):
        if len(unit) != 2 or unit[0] == unit[1]:
            raise InputError(f"pck_unit must be two different key points, got {unit}")
    elif isinstance(unit, str):
        if unit != BOX:
            raise InputError(f"pck_unit must be box, two key points or a length, got {unit!r}")
    else:
        check_range(1e-3, pck_unit=unit)


def measure_unit(unit: Unit, clips: Sequence[Clip], names: Sequence[str]) -> float | str:
    """Returns the unit for the metadata: a length in pixels of the video, or "box".

    Args:
        unit: The unit; of two key points, the mean distance is measured.
        clips: Training clips.
        names: Names of the key points.

    Raises:
        InputError: If a key point is unknown, or the two are never known in the same frame.
    """
    if not isinstance(unit, list):
        return unit
    for name in unit:
        if name not in names:
            raise InputError(
                f"pck_unit must name key points of the data ({listed(names)}), got {name!r}"
            )
    first, second = (names.index(name) for name in unit)
    total, count = 0.0, 0
    for clip in clips:
        points = np.asarray(clip.targets, dtype=np.float64)
        distance = np.linalg.norm(points[:, first] - points[:, second], axis=-1)
        known = np.isfinite(distance)
        total, count = total + float(distance[known].sum()), count + int(known.sum())
    if not total > 0:
        raise InputError(
            f"pck_unit needs training frames in which both {unit[0]!r} and {unit[1]!r} are known "
            "and apart, got none; choose other key points, or --data.pck_unit=box"
        )
    return total / count


def body_lengths(unit: float | str, points: Tensor) -> Tensor:
    """Returns the length of the body in each frame.

    Args:
        unit: The unit in the metadata.
        points: True points in pixels of the video, (N, K, 2), NaN where missing.

    Returns:
        Lengths in pixels of the video, (N,) float64; NaN or 0 where unknown.
    """
    if unit == BOX:
        return box_lengths(points.double())
    assert not isinstance(unit, str)
    return torch.full((len(points),), unit, dtype=torch.float64, device=points.device)


def check_points(points: dict[str, Any]) -> None:
    """Checks the metadata of key points, which may come from a file.

    Args:
        points: Their names, the pairs that a mirror image exchanges, and the unit.

    Raises:
        InputError: If they contradict each other.
    """
    where = "points in the metadata"
    names, unit = points["names"], points["unit"]
    if not names or len({*names}) < len(names):
        raise InputError(f"{where} must have different names, got {listed(names) or 'none'}")
    indices = [index for pair in points["pairs"] for index in pair]
    if any(len(pair) != 2 for pair in points["pairs"]) or len({*indices}) < len(indices):
        raise InputError(f"{where} must have pairs of different key points")
    if any(index >= len(names) for index in indices):
        raise InputError(f"{where} must have pairs of indices below {len(names)}")
    if unit != BOX and (isinstance(unit, str) or not 0 < unit < math.inf):
        raise InputError(f"{where} must have the unit box or a length above 0, got {unit!r:.60}")
