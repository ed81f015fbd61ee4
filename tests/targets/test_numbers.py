"""The losses, metrics and answers of numbers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error, r2_score

from srulight.targets import LossSettings, Numbers
from srulight.targets.statistics import standardize

NAMES = ["x", "y"]
MEAN, STD = [10.0, -1.0], [2.0, 0.5]


def target(loss: Any = "squared") -> Numbers:  # noqa: ANN401
    return Numbers(NAMES, LossSettings(numbers=loss), MEAN, STD)


def standard(numbers: Numbers, targets: Tensor) -> Tensor:
    """Returns targets as the data module gives them."""
    about = {"kind": "numbers", "mean": numbers.mean.tolist(), "std": numbers.std.tolist()}
    return standardize(targets, about)


def batch(size: int = 30) -> tuple[Tensor, Tensor]:
    """Returns standardized outputs, and targets in their own units."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(size, 2, generator=generator)
    noise = torch.randn(size, 2, generator=generator)
    return outputs, (outputs + noise) * torch.tensor(STD) + torch.tensor(MEAN)


def summarized(numbers: Numbers, *batches: tuple[Tensor, Tensor]) -> Any:  # noqa: ANN401
    metrics = numbers.new_metrics()
    for outputs, targets in batches:
        numbers.update(metrics, outputs, standard(numbers, targets))
    values = {name: metric.compute() for name, metric in metrics.items()}
    return numbers.summarize("test", values | {"loss": torch.tensor(0.5)})


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        # Standardized targets: (14 - 10) / 2 = 2 and (-1 + 1) / 0.5 = 0.
        ("squared", 1.5**2 + 0.5**2),
        ("absolute", 1.5 + 0.5),
        ("huber", (1.5 - 0.5) + 0.5**2 / 2),
    ],
)
def test_the_loss_by_hand(loss: str, expected: float) -> None:
    outputs = torch.tensor([[0.5, 0.5], [7.0, 7.0]])
    targets = torch.tensor([[14.0, -1.0], [math.nan, math.nan]])
    numbers = target(loss)
    total, count = numbers.loss(outputs, standard(numbers, targets))
    assert count == 2
    assert total.item() == pytest.approx(expected)


def test_a_missing_number_changes_no_gradient() -> None:
    outputs, targets = batch(3)
    outputs.requires_grad_()
    targets[0, 1] = targets[2] = math.nan
    total, count = target().loss(outputs, targets)
    total.backward()
    assert count == 3
    assert outputs.grad is not None
    assert (outputs.grad != 0).tolist() == [[True, False], [True, True], [False, False]]
    assert outputs.grad.isfinite().all()


def test_metrics_are_those_of_torchmetrics_in_the_units_of_the_data() -> None:
    outputs, targets = batch()
    numbers = target()
    scalars, report = summarized(numbers, (outputs[:7], targets[:7]), (outputs[7:], targets[7:]))
    assert scalars.keys() == numbers.scores.keys()
    assert report.header == ["number", "mae", "rmse", "r2", "support"]
    said = outputs * torch.tensor(STD) + torch.tensor(MEAN)
    for i, name in enumerate(NAMES):
        pair = said[:, i].contiguous(), targets[:, i].contiguous()
        expected = [
            mean_absolute_error(*pair), mean_squared_error(*pair, squared=False), r2_score(*pair),
        ]  # fmt: skip
        assert report.rows[i][0] == name
        assert list(report.rows[i][1:4]) == pytest.approx([float(e) for e in expected], rel=1e-5)
        assert report.rows[i][4] == 30
    for place, name in enumerate(("mae", "rmse", "r2"), 1):
        mean = sum(float(row[place]) for row in report.rows) / 2
        assert scalars[name].item() == pytest.approx(mean)


def test_missing_numbers_and_padded_steps_change_no_score() -> None:
    outputs, targets = batch(4)
    targets[1, 0] = math.nan
    padded = torch.cat((targets, torch.full((2, 2), math.nan))).view(3, 2, 2)
    _, report = summarized(target(), (torch.cat((outputs, outputs[:2])).view(3, 2, 2), padded))
    assert [row[4] for row in report.rows] == [3, 4]
    rows = [0, 2, 3]
    error = outputs[rows, 0] * STD[0] + MEAN[0] - targets[rows, 0]
    assert report.rows[0][1] == pytest.approx(error.abs().mean().item())


def test_a_number_that_never_changes_has_no_r2() -> None:
    outputs, targets = batch(9)
    targets[:, 1] = 0.1
    scalars, report = summarized(target(), (outputs, targets))
    assert math.isnan(report.rows[1][3])
    assert scalars["r2"].item() == pytest.approx(report.rows[0][3])


def test_numbers_far_from_zero_keep_their_precision() -> None:
    numbers = Numbers(["x"], LossSettings(), [1e6], [1.0])
    (answer,) = numbers.answers(torch.tensor([[0.25]]).half())
    assert answer.values == [1_000_000.25]
    _, report = summarized(numbers, (torch.zeros(2, 1), torch.tensor([[1e6 + 0.5], [1e6 - 0.5]])))
    assert report.rows[0][1:3] == [0.5, 0.5]


def test_answers_and_their_cells() -> None:
    numbers = target()
    (answer,) = numbers.answers(torch.tensor([[1.0, -2.0]]))
    assert answer.values == [12.0, -2.0]
    for probabilities in (False, True):
        assert numbers.columns(probabilities) == ["prediction:x", "prediction:y"]
        assert numbers.cells(answer, probabilities) == [12.0, -2.0]
    assert format(123456.7, numbers.number_format) == "123457"
    assert format(0.00001234567, numbers.number_format) == "1.23457e-05"
