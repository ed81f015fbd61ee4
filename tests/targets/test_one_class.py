"""The loss, metrics and answers of one class out of several."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
)

from srulight.data.base import IGNORED
from srulight.runtime.errors import InputError
from srulight.targets import LossSettings, OneClass, Report

NAMES = ["a", "b", "c"]


def target(counts: tuple[int, ...] = (1, 1, 1), **settings: Any) -> OneClass:  # noqa: ANN401
    return OneClass(NAMES, LossSettings(**settings), counts)


def batch(size: int = 40) -> tuple[Tensor, Tensor]:
    """Returns logits and classes, of which the last three are missing."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(3, (size,), generator=generator)
    classes[-3:] = IGNORED
    return torch.randn(size, 3, generator=generator), classes


def summarized(one: OneClass, *batches: tuple[Tensor, Tensor]) -> tuple[dict[str, Tensor], Report]:
    metrics = one.new_metrics()
    for outputs, targets in batches:
        one.update(metrics, outputs, targets)
    values = {name: metric.compute() for name, metric in metrics.items()}
    return one.summarize("test", values | {"loss": torch.tensor(0.5)})


def test_balanced_weights_give_each_class_the_same_total() -> None:
    # 80 + 15 + 5 = 100 examples of 3 classes: 100 / (3 * 80), 100 / (3 * 15), 100 / (3 * 5).
    weights = target((80, 15, 5), weights="balanced").weights
    torch.testing.assert_close(weights, torch.tensor([0.416667, 2.222222, 6.666667]))
    # A class without examples does not count.
    weights = target((3, 0, 1), weights="balanced").weights
    torch.testing.assert_close(weights, torch.tensor([4 / 6, 1.0, 4 / 2]))


def test_weights_by_name_are_one_where_left_out() -> None:
    assert target(weights={"c": 2.0, "a": 0.0}).weights.tolist() == [0, 1, 2]  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"model.loss.weights must name .* \(a, b, c\), got 'd'"):
        target(weights={"d": 2.0})


def test_the_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3), 0.0], [math.log(2), 0.0, 0.0], [9.0, 9.0, 9.0]])
    classes = torch.tensor([1, 2, IGNORED])
    total, count = target().loss(logits, classes)
    assert count == 2
    assert total.item() == pytest.approx(-math.log(3 / 5) - math.log(1 / 4))
    total, _ = target(weights={"c": 3.0}).loss(logits, classes)
    assert total.item() == pytest.approx(-math.log(3 / 5) - 3 * math.log(1 / 4))
    total, _ = target(focal=2.0, weights={"c": 3.0}).loss(logits, classes)
    assert total.item() == pytest.approx(
        -((2 / 5) ** 2) * math.log(3 / 5) - 3 * (3 / 4) ** 2 * math.log(1 / 4)
    )
    total, _ = target(smoothing=0.3).loss(logits, classes)
    first = 0.8 * math.log(3 / 5) + 0.2 * math.log(1 / 5)
    second = 0.8 * math.log(1 / 4) + 0.1 * math.log(1 / 4) + 0.1 * math.log(1 / 2)
    assert total.item() == pytest.approx(-first - second)


def test_steps_of_sequences_count_like_sequences() -> None:
    logits, classes = batch()
    for focal in (0.0, 2.0):
        one = target((3, 2, 1), weights="balanced", focal=focal)
        flat = one.loss(logits, classes)
        torch.testing.assert_close(one.loss(logits.view(5, 8, 3), classes.view(5, 8)), flat)
    steps, _ = summarized(one, (logits.view(5, 8, 3), classes.view(5, 8)))
    torch.testing.assert_close(steps, summarized(one, (logits, classes))[0])


@pytest.mark.parametrize("focal", [0.0, 0.5, 2.0])
def test_a_missing_class_changes_no_gradient(focal: float) -> None:
    logits, classes = batch()
    logits.requires_grad_()
    one = target((8, 2, 1), weights="balanced", focal=focal, smoothing=0.1)
    total, count = one.loss(logits, classes)
    total.backward()
    assert count == 37
    assert logits.grad is not None
    assert logits.grad[-3:].abs().max() == 0
    assert logits.grad[:-3].abs().min() > 0
    alone, _ = one.loss(logits[:-3], classes[:-3])
    torch.testing.assert_close(alone, total)


@pytest.mark.parametrize("focal", [0.5, 2.0])
def test_an_example_without_doubt_has_a_finite_gradient(focal: float) -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    target(focal=focal).loss(logits, torch.tensor([0]))[0].backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_half_precision_is_computed_in_single_precision() -> None:
    logits, classes = batch()
    half = logits.bfloat16()
    torch.testing.assert_close(target().loss(half, classes), target().loss(half.float(), classes))


def test_metrics_are_those_of_torchmetrics() -> None:
    logits, classes = batch()
    found, report = summarized(target(), (logits[:7], classes[:7]), (logits[7:], classes[7:]))
    rows = logits[:-3].softmax(-1), classes[:-3]
    expected = {
        "accuracy": multiclass_accuracy(*rows, 3, "micro"),
        "macro_f1": multiclass_f1_score(*rows, 3, average="macro"),
        "weighted_f1": multiclass_f1_score(*rows, 3, average="weighted"),
        "calibration_error": multiclass_calibration_error(*rows, 3, 15),
        "loss": torch.tensor(0.5),
    }
    torch.testing.assert_close(found, expected, check_dtype=False)
    confusion = torch.as_tensor(report.confusion)
    torch.testing.assert_close(confusion, multiclass_confusion_matrix(*rows, 3))


def test_the_report_by_hand() -> None:
    # True a: 2 as a, 1 as b. True b: 1 as b. No c, but one b as c.
    true, said = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 2])
    one = target()
    scalars, report = summarized(one, (F.one_hot(said, 3).float(), true))
    assert scalars.keys() == one.scores.keys()
    assert report.header == ["class", "precision", "recall", "f1", "support"]
    rows = [list(row) for row in report.rows]
    assert rows[0] == ["a", 1.0, pytest.approx(2 / 3), pytest.approx(0.8), 3]
    assert rows[1] == ["b", 0.5, 0.5, 0.5, 2]
    assert rows[2] == ["c", 0.0, pytest.approx(math.nan, nan_ok=True), 0.0, 0]
    assert torch.as_tensor(report.confusion).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_answers_and_their_cells() -> None:
    outputs = torch.tensor([[0.0, math.log(2), 0.0]])
    (answer,) = target().answers(outputs)
    assert answer.label == "b"
    assert answer.probability == pytest.approx(0.5)
    assert answer.probabilities == pytest.approx([0.25, 0.5, 0.25])
    one = target()
    assert one.columns(False) == ["prediction", "probability"]
    assert one.cells(answer, False) == ["b", answer.probability]
    assert one.columns(True)[2:] == ["probability:a", "probability:b", "probability:c"]
    assert one.cells(answer, True)[2:] == answer.probabilities


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"focal": -1.0}, "focal must be at least 0, got -1.0"),
        ({"smoothing": 1.0}, "smoothing must be below 1, got 1"),
        ({"smoothing": 1.5}, "smoothing must be 0 to 1, got 1.5"),
        ({"weights": {"a": -1.0}}, r"weights.a must be at least 0, got -1.0"),
        ({"weights": {"a": math.inf}}, r"weights.a must be at least 0, got inf"),
        ({"weights": {1: 2.0}}, r"weights must have texts as names, got 1; write it in quotes"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        LossSettings(**settings)
