"""The loss, metrics, thresholds and answers of several labels at once."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.classification import (
    binary_auroc,
    multilabel_auroc,
    multilabel_average_precision,
    multilabel_f1_score,
)

from srulight.targets import Labels, LabelsAnswer, LossSettings

NAMES = ["a", "b"]


def target(
    positives: tuple[int, ...] = (1, 1),
    totals: tuple[int, ...] = (2, 2),
    **settings: Any,  # noqa: ANN401
) -> Labels:
    return Labels(NAMES, LossSettings(**settings), positives, totals)


def batch(size: int = 50) -> tuple[Tensor, Tensor]:
    """Returns logits and labels without missing ones."""
    generator = torch.Generator().manual_seed(0)
    applies = torch.randint(2, (size, 2), generator=generator).float()
    return torch.randn(size, 2, generator=generator) + applies, applies


def logit(*probabilities: float) -> Tensor:
    return torch.tensor(probabilities).logit()


def summarized(labels: Labels, stage: str, *batches: tuple[Tensor, Tensor]) -> Any:  # noqa: ANN401
    metrics = labels.new_metrics()
    for outputs, targets in batches:
        labels.update(metrics, outputs, targets)
    values = {name: metric.compute() for name, metric in metrics.items()}
    return labels.summarize(stage, values | {"loss": torch.tensor(0.5)})


def test_balanced_weights_are_negatives_per_positive() -> None:
    labels = target((10, 25), (100, 50), weights="balanced")
    assert labels.weights is not None
    assert labels.weights.tolist() == [9, 1]
    # A label that always or never applies has nothing to balance.
    labels = target((0, 7), (9, 7), weights="balanced")
    assert labels.weights is not None
    assert labels.weights.tolist() == [1, 1]


def test_the_loss_is_that_of_torch() -> None:
    logits, applies = batch()
    for labels, weights in ((target(), [1.0, 1.0]), (target(weights={"b": 3.0}), [1.0, 3.0])):
        total, count = labels.loss(logits, applies)
        loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights), reduction="sum")
        torch.testing.assert_close(total, loss(logits, applies))
        assert count == 100
    total, _ = target(smoothing=0.2).loss(logits, applies)
    goal = torch.where(applies == 1, 0.9, 0.1)
    torch.testing.assert_close(
        total, F.binary_cross_entropy_with_logits(logits, goal, reduction="sum")
    )


def test_the_focal_loss_by_hand() -> None:
    total, _ = target(focal=2.0, weights={"a": 3.0}).loss(
        logit(0.8, 0.3).unsqueeze(0), torch.tensor([[1.0, 0.0]])
    )
    expected = -3 * 0.2**2 * math.log(0.8) - 0.3**2 * math.log(0.7)
    assert total.item() == pytest.approx(expected)


def test_a_label_without_doubt_has_a_finite_gradient() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    target(focal=0.5).loss(logits, torch.tensor([[1.0, 0.0]]))[0].backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("focal", [0.0, 0.5, 2.0])
def test_a_missing_label_changes_nothing(focal: float) -> None:
    logits, applies = batch(4)
    logits.requires_grad_()
    applies[1, 0] = applies[3] = math.nan
    labels = target(focal=focal, smoothing=0.1, weights={"a": 2.0})
    total, count = labels.loss(logits, applies)
    total.backward()
    assert count == 5
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [[True, True], [False, True], [True, True], [False] * 2]
    assert logits.grad.isfinite().all()
    parts = [labels.loss(logits[i : i + 1], applies[i : i + 1])[0] for i in range(4)]
    torch.testing.assert_close(sum(parts), total)


def test_areas_and_f1_are_those_of_torchmetrics() -> None:
    logits, applies = batch()
    labels = target()
    scalars, report = summarized(
        labels, "test", (logits[:9], applies[:9]), (logits[9:], applies[9:])
    )
    assert scalars.keys() == labels.scores.keys()
    probabilities, true = logits.sigmoid(), applies.long()
    for name, each in (
        ("roc_auc", multilabel_auroc(probabilities, true, 2, average=None)),
        ("average_precision", multilabel_average_precision(probabilities, true, 2, average=None)),
        ("f1", multilabel_f1_score(probabilities, true, 2, average=None)),
    ):
        place = list(report.header).index(name)
        assert [row[place] for row in report.rows] == pytest.approx(each.tolist())
        mean = scalars["macro_f1" if name == "f1" else name]
        assert mean.item() == pytest.approx(each.mean().item())
    assert [row[-1] for row in report.rows] == applies.sum(0).tolist()


def test_missing_labels_and_padded_steps_change_no_score() -> None:
    logits, applies = batch(20)
    holes = applies.clone()
    holes[::4, 0] = math.nan
    padded = torch.cat((holes, torch.full((4, 2), math.nan))).view(8, 3, 2)
    steps = torch.cat((logits, torch.zeros(4, 2))).view(8, 3, 2)
    found, _ = summarized(target(), "test", (steps, padded))
    known = ~holes[:, 0].isnan()
    expected = [
        binary_auroc(logits[known, 0].sigmoid(), applies[known, 0].long()),
        binary_auroc(logits[:, 1].sigmoid(), applies[:, 1].long()),
    ]
    torch.testing.assert_close(found["roc_auc"].float(), torch.stack(expected).mean())


def test_thresholds_are_those_with_the_best_f1_of_the_validation() -> None:
    # a: 0.9+ 0.4+ 0.3- 0.2-: both positives and nothing else from 0.4 on.
    # b: 0.8- 0.7+ 0.6+ 0.1+: F1 is 0.86 from 0.1 on, 0.67 from 0.6 on, 0.4 from 0.7 on.
    outputs = torch.stack((logit(0.9, 0.4, 0.3, 0.2), logit(0.8, 0.7, 0.6, 0.1)), 1)
    applies = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    labels = target()
    assert labels.thresholds.tolist() == [0.5, 0.5]
    before, _ = summarized(labels, "test", (outputs, applies))
    # At 0.5: a has 1 of 2 positives; b has 2 of 3 and one false.
    assert before["macro_f1"].item() == pytest.approx((2 / 3 + 2 / 3) / 2)
    found, report = summarized(labels, "val", (outputs, applies))
    assert labels.thresholds.tolist() == pytest.approx([0.4, 0.1])
    assert found["macro_f1"].item() == pytest.approx((1 + 6 / 7) / 2)
    assert list(report.rows[1][3:]) == pytest.approx([3 / 4, 1, 6 / 7, 0.1, 3])
    after, _ = summarized(labels, "test", (outputs, applies))
    assert after["macro_f1"].item() == pytest.approx(found["macro_f1"].item())
    assert [answer.labels for answer in labels.answers(outputs)] == [
        ["a", "b"],
        ["a", "b"],
        ["b"],
        ["b"],
    ]
    again = target()
    again.load_state_dict(labels.state_dict())
    assert again.thresholds.tolist() == labels.thresholds.tolist()


def test_a_label_that_never_applies_has_no_scores() -> None:
    outputs, applies = batch(10)
    applies[:, 1] = 0
    labels = target()
    found, report = summarized(labels, "val", (outputs, applies))
    assert labels.thresholds[1] == 0.5
    assert math.isnan(report.rows[1][1])
    expected = binary_auroc(outputs[:, 0].sigmoid(), applies[:, 0].long())
    assert found["roc_auc"].item() == pytest.approx(expected.item())


def test_without_any_target_there_is_no_score() -> None:
    nothing = torch.full((3, 2), math.nan)
    found, report = summarized(target(), "val", (torch.zeros(3, 2), nothing))
    assert all(math.isnan(found[name]) for name in ("roc_auc", "average_precision", "macro_f1"))
    assert [row[-1] for row in report.rows] == [0, 0]


def test_answers_and_their_cells() -> None:
    labels = target()
    (answer,) = labels.answers(logit(0.9, 0.4).unsqueeze(0))
    assert answer == LabelsAnswer(["a"], pytest.approx([0.9, 0.4]))  # type: ignore[arg-type]
    both = LabelsAnswer(["a", "b"], [0.9, 0.6])
    assert labels.columns(False) == ["prediction"]
    assert labels.cells(both, False) == ["a;b"]
    assert labels.columns(True) == ["prediction", "probability:a", "probability:b"]
    assert labels.cells(both, True) == ["a;b", 0.9, 0.6]
