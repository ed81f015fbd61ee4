"""Key points in tables with a row per frame."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.data.columns import TableFile
from srulight.runtime.errors import InputError, listed
from srulight.runtime.faults import Faults
from srulight.video.sources import VideoSource

_TOLERANCE = 1.0  # Pixels that a point may lie outside the frame.


class PointRows(NamedTuple):
    """Rows of key points.

    Attributes:
        frames: Index of the frame of each row, (R,), as it is in the table.
        points: x and y in pixels of the video, (R, K, 2), NaN where missing.
        place: Returns the place of a row for messages, such as ``points.csv:17``.
    """

    frames: NDArray[np.float64]
    points: NDArray[np.float64]
    place: Callable[[int], str]


def point_names(table: TableFile) -> list[str]:
    """Returns the names of all key points of a table, which have the columns NAME_x and NAME_y.

    Raises:
        InputError: If there are none.
    """
    columns = [*table.first]
    names = [c.removesuffix("_x") for c in columns if c.endswith("_x") and f"{c[:-2]}_y" in columns]
    if not names:
        raise InputError(
            f"{table.path}: expected columns NAME_x and NAME_y of key points, got the columns "
            f"{listed(columns)}; rename them"
        )
    return names


def placed(rows: PointRows, video: VideoSource, names: Sequence[str]) -> NDArray[np.float32]:
    """Returns the key points at each frame of a video.

    Args:
        rows: Rows of the video, at most one per frame.
        video: The video.
        names: Names of the key points, for messages.

    Returns:
        x and y in pixels of the video, (T, K, 2), NaN where missing.

    Raises:
        InputError: If a frame is not in the video or has two rows, or a point is outside the frame.
    """
    faults = Faults()
    seen: dict[int, int] = {}
    found = np.full((video.length, len(names), 2), np.nan, dtype=np.float32)
    for row, frame in enumerate(rows.frames.tolist()):
        if frame not in range(video.length):
            faults.add(
                f"{rows.place(row)}: expected a frame from 0 to {video.length - 1}, because "
                f"{video.name} has {video.length} frames, got {frame:g}; correct it, or delete the "
                "row"
            )
        elif seen.setdefault(int(frame), row) != row:
            faults.add(
                f"{rows.place(row)}: expected one row per frame, got another one for frame "
                f"{int(frame)}; delete one of them"
            )
        else:
            found[int(frame)] = rows.points[row]
    check_inside(rows.points, video, names, rows.place, faults)
    faults.refuse()
    return found


def check_inside(
    points: NDArray[np.float64],
    video: VideoSource,
    names: Sequence[str],
    place: Callable[[int], str],
    faults: Faults,
) -> None:
    """Reports the points that lie more than a pixel outside the frame.

    Args:
        points: x and y in pixels of the video, (R, K, 2), NaN where missing.
        video: The video.
        names: Names of the key points.
        place: Returns the place of a row.
        faults: Collects the errors.
    """
    size = np.array([video.width, video.height])
    outside = (points < -_TOLERANCE) | (points > size + _TOLERANCE)
    for row, point in np.argwhere(outside.any(-1)).tolist():
        x, y = points[row, point].tolist()
        faults.add(
            f"{place(row)}: expected {names[point]!r} inside the frame of {video.width} x "
            f"{video.height} pixels, got {x:g}, {y:g}; correct it, or leave the cells empty"
        )
