"""Heads draw and find key points, and leave out what is missing."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from srulight import ConvSRU
from srulight.runtime.errors import InputError
from srulight.tasks.pose_estimation.heads import HeadSizes, HeatMapHead, RegressionHead
from srulight.tasks.pose_estimation.heads.gaussians import gaussians, peaks
from tests.tasks.pose_estimation.models import HEADS, ONLINE

SIZES = HeadSizes(features=4, points=3, height=8, width=12, stride=2)
NAN = math.nan
every = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


def test_a_gaussian_is_one_at_its_point() -> None:
    found = gaussians(torch.tensor([2.5, 0.5]), (2, 4), sigma=1.0)
    one, two = math.exp(-0.5), math.exp(-2)  # one and two places away
    expected = [[two, one, 1.0, one], [two * one, one * one, one, one * one]]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("sigma", [0.8, 1.5])
def test_a_gaussian_has_its_peak_at_its_point(sigma: float) -> None:
    points = torch.rand(50, 2) * torch.tensor([6.0, 4.0]) + 1
    found, values = peaks(gaussians(points, (6, 8), sigma))
    torch.testing.assert_close(found, points, rtol=0, atol=1e-3)
    assert (values > 0.6).all()


def test_peaks_of_odd_maps() -> None:
    maps = torch.zeros(4, 3, 3)
    maps[0, 0, 2] = 0.9  # in a corner, where neighbors are missing
    maps[1, 1, 1] = maps[1, 1, 2] = 0.5  # two equal ones
    maps[2] = -1.0  # flat and below zero
    maps[3, 1] = torch.tensor([0.1, 0.4, 0.2])
    found, values = peaks(maps)
    # The vertex of the parabola through the three logarithms lies this far from the middle.
    offset = math.log(2) / (2 * (2 * math.log(0.4) - math.log(0.1) - math.log(0.2)))
    assert found[0].tolist() == [2.5, 0.5]
    assert found[1, 0].item() == pytest.approx(2.0, abs=1e-3)
    assert found[2].tolist() == [0.5, 0.5]
    assert found[3, 0].item() == pytest.approx(1.5 + offset, abs=1e-5)
    assert found[3, 1].item() == pytest.approx(1.5, abs=1e-5)
    assert values.tolist() == pytest.approx([0.9, 0.5, -1.0, 0.4])


def test_the_loss_of_heat_maps_is_their_squared_error() -> None:
    head = HeatMapHead(SIZES, stages=2, sigma=3.0)
    targets = torch.tensor([[[[6.0, 4.0], [NAN, 3.0], [NAN, NAN]]]])
    wanted = gaussians(torch.tensor([3.0, 2.0]), (4, 6), 1.5)
    outputs = torch.randn(1, 1, 2, 3, 4, 6)
    total, count = head.loss(outputs, targets)
    squares = [float((outputs[0, 0, s, 0] - wanted).square().sum()) for s in range(2)]
    assert total.item() == pytest.approx(sum(squares) / 2 / (math.pi * 1.5**2), rel=1e-5)
    assert count.item() == 1
    exact = wanted.expand(1, 1, 2, 3, 4, 6)
    assert head.loss(exact, targets)[0].item() == pytest.approx(0, abs=1e-6)


def test_empty_maps_have_a_loss_of_one() -> None:
    head = HeatMapHead(HeadSizes(4, 1, 80, 80, 2), sigma=4.0)
    total, count = head.loss(torch.zeros(1, 1, 1, 1, 40, 40), torch.full((1, 1, 1, 2), 40.0))
    assert total.item() / count.item() == pytest.approx(1, rel=1e-3)


def test_heat_maps_are_decoded_to_pixels_of_the_frame() -> None:
    head = HeatMapHead(SIZES, stages=2)
    points = torch.tensor([[5.3, 3.4], [7.0, 4.1], [4.2, 5.0]])
    last = gaussians(points / 2, (4, 6), 1.0)
    outputs = torch.stack((torch.zeros_like(last), last))[None, None]
    found = head.decode(outputs)
    torch.testing.assert_close(found.points[0, 0], points, rtol=0, atol=0.01)
    torch.testing.assert_close(found.scores[0, 0], last.amax((1, 2)))


@pytest.mark.parametrize(
    ("error", "expected"),
    [("absolute", 0.1 + 0.25), ("squared", 0.01 + 0.0625), ("huber", 0.02 * (0.09 + 0.24))],
)
def test_the_loss_of_regression_is_in_shares_of_the_frame(error: Any, expected: float) -> None:  # noqa: ANN401
    head = RegressionHead(SIZES, error=error)
    targets = torch.tensor([[[[6.0, 4.0], [NAN, NAN], [NAN, 3.0]]]])
    outputs = torch.tensor([[[[0.6, 0.75], [9.0, 9.0], [9.0, 9.0]]]])
    total, count = head.loss(outputs, targets)
    assert total.item() == pytest.approx(expected / 2, rel=1e-5)
    assert count.item() == 1
    found = head.decode(outputs)
    assert found.points[0, 0, 0].tolist() == pytest.approx([7.2, 6.0])
    assert found.scores.isnan().all()


@every
def test_missing_points_give_no_gradient(head: Any) -> None:  # noqa: ANN401
    model = head(SIZES)
    outputs = model(torch.randn(2, 3, 4, 4, 6), torch.tensor([3, 3]))
    total, count = model.loss(outputs, torch.full((2, 3, 3, 2), NAN))
    total.backward()
    assert total.item() == count.item() == 0
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


@every
def test_padding_changes_nothing(head: Any) -> None:  # noqa: ANN401
    model = head(SIZES).eval()
    maps, lengths = torch.randn(2, 5, 4, 4, 6), torch.tensor([5, 3])
    whole = model(maps, lengths)
    torch.testing.assert_close(whole[1, :3], model(maps[1:, :3], lengths[1:])[0])


@pytest.mark.parametrize("head", ONLINE.values(), ids=ONLINE)
def test_segments_equal_whole_clips(head: Any) -> None:  # noqa: ANN401
    model = head(SIZES).eval()
    maps = torch.randn(2, 5, 4, 4, 6)
    whole = model(maps, torch.tensor([5, 5]))
    state, pieces = None, []
    for piece in maps.split([2, 2, 1], 1):
        outputs, state = model.forward_with_state(piece, state)
        pieces.append(outputs)
        assert state.dim() == 3
        assert state.size(1) == 2
    torch.testing.assert_close(torch.cat(pieces, 1), whole)


def test_later_stages_read_the_maps_before() -> None:
    head = HeatMapHead(SIZES, lambda size: ConvSRU(size, 5), stages=3, channels=4)
    nn.init.zeros_(head.stages[2][0].weight[:, :5])  # type: ignore[index]
    maps = torch.randn(1, 2, 4, 4, 6)
    before = head(maps, torch.tensor([2]))
    assert before.shape == (1, 2, 3, 3, 4, 6)
    nn.init.zeros_(head.stages[1][-1].weight)  # type: ignore[index]
    after = head(maps, torch.tensor([2]))
    torch.testing.assert_close(after[:, :, 0], before[:, :, 0])
    assert not torch.allclose(after[:, :, 2], before[:, :, 2])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: HeatMapHead(SIZES, stages=0), "stages must be at least 1, got 0"),
        (lambda: HeatMapHead(SIZES, sigma=0.0), "sigma must be at least 0.01, got 0.0"),
        (lambda: RegressionHead(SIZES, vector_size=0), "vector_size must be at least 1, got 0"),
    ],
)
def test_numbers_have_ranges(make: Any, says: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=says):
        make()
