"""Shapes cover the area that geometry says, wherever they are."""

import math
from typing import get_args

import numpy as np
import pytest

from srulight.video.shapes import Shape, blend, coverage

# Of radius 6: side lengths follow from the distances of the edges from the center.
AREAS = {
    "disk": math.pi * 36,
    "square": 144.0,
    "triangle": 3 * math.sqrt(3) * 4**2,  # of the triangle around a circle of radius 4
    "cross": 2 * 14.4 * 4.8 - 4.8**2,
}


@pytest.mark.parametrize("shape", get_args(Shape))
def test_areas_and_centers(shape: Shape) -> None:
    y, x = np.mgrid[:40, :50] + 0.5
    for center, angle in (((20.0, 22.0), 0.0), ((24.3, 17.8), 0.7)):
        share = coverage(shape, 40, 50, center, 6, angle)
        assert share.dtype == np.float32
        assert (share.min(), share.max()) == (0, 1)
        assert share.sum() == pytest.approx(AREAS[shape], rel=0.02)
        found = ((x * share).sum() / share.sum(), (y * share).sum() / share.sum())
        assert found == pytest.approx(center, abs=0.05)


def test_a_triangle_points_up_and_turns_clockwise() -> None:
    for angle, tip in ((0.0, (20, 12.6)), (math.pi / 2, (27.4, 20))):
        share = coverage("triangle", 40, 40, (20, 20), 6, angle)
        assert share[int(tip[1]), int(tip[0])] > 0.2
        opposite = (40 - tip[0], 40 - tip[1])
        assert share[int(opposite[1]), int(opposite[0])] == 0


def test_parts_outside_the_frame_are_cut_off() -> None:
    share = coverage("square", 10, 10, (0, 5), 3)
    assert share.sum() == pytest.approx(18)


def test_paint_covers_what_was_there() -> None:
    share = np.array([[0, 0.5, 1]], dtype=np.float32)
    frame = np.full((1, 3), 0.2, dtype=np.float32)
    blend(frame, share, 1.0)
    np.testing.assert_allclose(frame, [[0.2, 0.6, 1]])
    colors = np.zeros((1, 3, 2), dtype=np.float32)
    blend(colors, share, np.array([1.0, 0.5]))
    np.testing.assert_allclose(colors[0], np.outer(share, [1, 0.5]))
