"""The metrics of key points, compared with figures by hand."""

import math

import numpy as np
import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.tasks.pose_estimation.metrics import PointErrors, box_lengths
from srulight.tasks.pose_estimation.units import body_lengths, check_points, measure_unit
from srulight.video.corpus import Clip

NAN = math.nan
TRUE = torch.tensor(
    [
        [[0.0, 0.0], [10.0, 5.0]],  # a box of 10 pixels
        [[3.0, 3.0], [NAN, NAN]],  # no box
        [[NAN, 1.0], [NAN, NAN]],
        [[0.0, 0.0], [0.0, 20.0]],
    ]
)
FOUND = torch.tensor(
    [
        [[0.0, 2.0], [13.0, 9.0]],  # 2 and 5 pixels away
        [[3.0, 4.0], [0.0, 0.0]],  # 1
        [[0.0, 0.0], [0.0, 0.0]],
        [[0.0, 4.1], [3.0, 20.0]],  # 4.1 and 3
    ]
)


def test_boxes_have_a_larger_side() -> None:
    found = box_lengths(TRUE)
    assert found[[0, 1, 3]].tolist() == [10, 0, 20]
    assert found[2].isnan()


def test_errors_by_hand() -> None:
    metric = PointErrors(2, 0.2)
    metric.update(FOUND, TRUE, box_lengths(TRUE))
    known, distance, judged, correct = metric.compute().tolist()
    assert known == [3, 2]
    assert distance == pytest.approx([7.1, 8])
    assert judged == [2, 2]
    assert correct == [1, 1]  # 2 of 10 pixels is correct, and 4.1 of 20 is not


def test_sums_do_not_depend_on_the_batches() -> None:
    whole, parts = PointErrors(2, 0.2), PointErrors(2, 0.2)
    body = body_lengths(14.0, TRUE)
    whole.update(FOUND, TRUE, body)
    for i in range(4):
        parts.update(FOUND[i : i + 1], TRUE[i : i + 1], body[i : i + 1])
    assert torch.equal(whole.compute(), parts.compute())
    assert whole.compute()[3].tolist() == [2, 0]  # within 2.8 pixels


def test_a_unit_is_measured_in_training() -> None:
    points = np.array([[[0, 0], [3, 4]], [[0, 0], [0, 6]], [[0, 0], [NAN, NAN]]], np.float32)
    clips = [Clip("a", None, 0, 3, points), Clip("b", None, 0, 1, points[:1])]  # type: ignore[arg-type]
    assert measure_unit(["a", "b"], clips, ["a", "b"]) == pytest.approx((5 + 6 + 5) / 3)
    assert measure_unit("box", clips, ["a", "b"]) == "box"
    assert measure_unit(7.5, clips, ["a", "b"]) == 7.5
    with pytest.raises(InputError, match=r"must name key points of the data \(a, b\), got 'c'"):
        measure_unit(["a", "c"], clips, ["a", "b"])
    with pytest.raises(InputError, match="in which both 'a' and 'b' are known and apart, got none"):
        measure_unit(["a", "b"], [Clip("a", None, 0, 1, points[2:])], ["a", "b"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"names": []}, "must have different names, got none"),
        ({"names": ["a", "a"]}, "must have different names, got a, a"),
        ({"pairs": [[0, 2]]}, "must have pairs of indices below 2"),
        ({"pairs": [[0, 0]]}, "must have pairs of different key points"),
        ({"pairs": [[0]]}, "must have pairs of different key points"),
        ({"unit": "body"}, "must have the unit box or a length above 0, got 'body'"),
        ({"unit": 0}, "must have the unit box or a length above 0, got 0"),
        ({"unit": math.inf}, "must have the unit box or a length above 0, got inf"),
        ({"unit": NAN}, "must have the unit box or a length above 0, got nan"),
    ],
)
def test_metadata_are_not_trusted(change: dict[str, object], says: str) -> None:
    points = {"names": ["a", "b"], "pairs": [[0, 1]], "unit": "box"}
    check_points(points)
    with pytest.raises(InputError, match=says):
        check_points(points | change)
