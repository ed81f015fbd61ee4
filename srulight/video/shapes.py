"""Draws simple shapes into generated frames."""

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape = Literal["disk", "square", "triangle", "cross"]
"""Shapes that ``coverage`` draws."""

_Array: TypeAlias = NDArray[np.float64]


def coverage(
    shape: Shape,
    height: int,
    width: int,
    center: tuple[float, float],
    radius: float,
    angle: float = 0.0,
) -> NDArray[np.float32]:
    """Returns the share of each pixel that a shape covers, smoothed at its edge.

    Args:
        shape: The shape.
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.
        center: Center of the shape, x and y in pixels from the upper left corner of the frame; the
            center of the first pixel is at 0.5, 0.5.
        radius: Size of the shape in pixels: the radius of the disk, half the side of the square;
            the distance of the tips of the triangle from its center is 4/3 of it, and the arms of
            the cross are 6/5 of it.
        angle: Rotation in radians, clockwise.

    Returns:
        Shares, (H, W) float32, 0 to 1.
    """
    y, x = np.mgrid[:height, :width] + 0.5
    x, y = x - center[0], y - center[1]
    cos, sin = math.cos(angle), math.sin(angle)
    distance = _DISTANCES[shape](x * cos + y * sin, y * cos - x * sin, radius)
    return np.clip(0.5 - distance, 0, 1).astype(np.float32)


def blend(frame: NDArray[np.float32], share: NDArray[np.float32], color: Any) -> None:  # noqa: ANN401
    """Paints over a frame, in place.

    Args:
        frame: The frame, (H, W) or (H, W, C).
        share: Share of each pixel to paint, (H, W), 0 to 1.
        color: Brightness, or (C,) colors, of the paint.
    """
    if frame.ndim == 3:
        share = share[..., None]
    frame += share * (color - frame)


def _disk(x: _Array, y: _Array, radius: float) -> _Array:
    return np.hypot(x, y) - radius


def _square(x: _Array, y: _Array, radius: float) -> _Array:
    return np.maximum(abs(x), abs(y)) - radius


def _triangle(x: _Array, y: _Array, radius: float) -> _Array:
    """A triangle with equal sides, whose tip points up."""
    sides = (math.pi / 2, math.pi * 7 / 6, -math.pi / 6)  # directions of their normals
    distances = [x * math.cos(side) + y * math.sin(side) for side in sides]
    return np.maximum.reduce(distances) - radius / 1.5


def _cross(x: _Array, y: _Array, radius: float) -> _Array:
    long, thin = radius * 1.2, radius / 2.5
    one = np.maximum(abs(x) - long, abs(y) - thin)
    other = np.maximum(abs(x) - thin, abs(y) - long)
    return np.minimum(one, other)


_DISTANCES: dict[str, Callable[[_Array, _Array, float], _Array]] = {
    "disk": _disk,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
}
"""Distances of points from the edge of each shape, negative inside, from x, y and the radius."""
