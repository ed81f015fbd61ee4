"""The table per class, label or number, its files, and the metrics that it comes from."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

from srulight.data.base import IGNORED
from srulight.runtime.errors import InputError
from srulight.targets import Labels, LossSettings, Numbers, OneClass, Report, Target
from srulight.targets import report as module

NAN = math.nan
Row = list[str | float]


def evaluated(
    target: Target, batches: list[tuple[Tensor, Tensor]], stage: str = "test"
) -> tuple[dict[str, Tensor], Report]:
    """Values and report of batches of outputs and targets."""
    metrics: Mapping[str, Metric] = target.new_metrics()
    for outputs, targets in batches:
        target.update(metrics, outputs, targets)
    return target.summarize(stage, {name: metric.compute() for name, metric in metrics.items()})


def state(metrics: Mapping[str, Metric]) -> list[tuple[int, ...]]:
    """Shapes of all that the metrics keep."""
    kept = (value for metric in metrics.values() for value in metric.metric_state.values())
    return [tuple(torch.as_tensor(value).shape) for value in kept]


def one_class(size: int) -> OneClass:
    return OneClass([f"c{i}" for i in range(size)], LossSettings(), [1] * size)


def test_a_table_is_aligned() -> None:
    report = Report(["class", "precision", "support"], [["good", 0.5, 1200], ["very bad", NAN, 3]])
    assert report.text().splitlines() == [
        "class     precision  support",
        "good         0.5000    1,200",
        "very bad          -        3",
    ]


def test_names_of_any_kind_stay_in_their_column() -> None:
    names = ["\x1b[31mred\n", "日本", "x" * 30 + " y " + "z" * 30]
    rows: list[Row] = [[name, 7] for name in names]
    lines = Report(["class", "support"], rows).text().splitlines()
    assert lines[1].startswith("?[31mred?  ")
    assert lines[3].startswith("x" * 20 + "…" + "z" * 19 + "  ")
    assert len(lines[2]) + 2 == len(lines[1]) == len(lines[3])  # two characters are wide
    assert all(line.endswith("      7") for line in lines[1:])


def test_of_a_hundred_rows_all_are_shown_and_of_more_the_largest() -> None:
    rows: list[Row] = [[f"c{i}", i] for i in range(101)]
    assert len(Report(["class", "support"], rows[:100]).text().splitlines()) == 101
    lines = Report(["class", "support"], rows).text().splitlines()
    assert lines[1].split() == ["c100", "100"]
    assert lines[50].split() == ["c51", "51"]
    assert lines[51:] == ["(50 of 101 rows, those with the most examples)"]


def test_a_file_has_all_rows_names_as_they_are_and_no_nan(tmp_path: Path) -> None:
    rows: list[Row] = [[f"c{i}", 0.125, NAN, i] for i in range(150)]
    rows[3][0] = 'a "b",\x1b\nc'
    rows[4][0] = "\ud800"
    assert Report(["class", "f1", "recall", "support"], rows).write(tmp_path, "val") == [
        tmp_path / "val-report.csv"
    ]
    with (tmp_path / "val-report.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.reader(file))
    assert read[0] == ["class", "f1", "recall", "support"]
    assert read[4] == ['a "b",\x1b\nc', "0.125", "", "3"]
    assert read[5][0] == "?"
    assert len(read) == 151


def test_a_confusion_becomes_a_picture(tmp_path: Path, figures: list[Any]) -> None:
    confusion = torch.tensor([[1200, 0, 400], [0, 0, 0], [1, 0, 3]])
    rows: list[Row] = [["$a$", 1600], ["b\x1b", 0], ["c" * 30, 4]]
    paths = Report(["class", "support"], rows, confusion).write(tmp_path, "test")
    assert paths == [tmp_path / "test-report.csv", tmp_path / "test-confusion.png"]
    axes = figures[0].axes[0]
    assert axes.get_title() == "test: 1,604 examples, accuracy 0.7500"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    names = ["$a$", "b?", "c" * 12 + "…" + "c" * 11]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    # Row 0 is at the top: y is the true class, x the predicted one.
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "1,200", (2, 0): "400", (0, 2): "1", (2, 2): "3"}
    shares = axes.images[0].get_array()
    assert shares.filled(-1).tolist() == [[0.75, 0, 0.25], [-1, -1, -1], [0.25, 0, 0.75]]
    pixels = pytest.importorskip("matplotlib.image").imread(paths[1])
    assert pixels.shape[0] > 240  # two inches and the labels


def test_names_and_counts_that_do_not_fit_are_left_out(
    tmp_path: Path, figures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure

    def keep(self: object, path: Path, **_: object) -> None:  # drawing takes seconds
        figures.append(self)
        path.touch()

    monkeypatch.setattr(figure, "savefig", keep)
    for size in (60, 400):
        confusion = torch.zeros(size, size, dtype=torch.int64)
        confusion[:3] = 100_000
        names = [f"c{i}" for i in range(size)]
        module.draw(confusion, names, "test", tmp_path / "confusion.png")
    few, many = (figure.axes[0] for figure in figures)
    assert [label.get_text() for label in few.get_xticklabels()] == [f"c{i}" for i in range(60)]
    assert [label.get_text() for label in many.get_xticklabels()][:3] == ["c0", "c3", "c6"]
    assert not few.texts
    assert not many.texts


def test_without_matplotlib_there_is_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "module_available", lambda name: False)
    report = Report(["class", "support"], [["a", 1]], torch.ones(1, 1, dtype=torch.int64))
    assert report.write(tmp_path, "test") == [tmp_path / "test-report.csv"]


def test_a_file_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file, not a folder"):
        Report(["class", "support"], [["a", 1]]).write(tmp_path / "file", "test")


def test_measures_of_classes_are_those_of_torchmetrics() -> None:
    target = one_class(5)
    # No example has class 3, but some are taken for it; class 4 does not occur at all.
    outputs = torch.randn(300, 5) * 2
    outputs[:, 4] = -9
    targets = torch.randint(3, (300,))
    targets[::7] = IGNORED
    batches = list(zip(outputs.split(64), targets.split(64), strict=True))
    values, report = evaluated(target, batches)
    others = {
        "accuracy": MulticlassAccuracy(5, average="micro", ignore_index=IGNORED),
        "macro_f1": MulticlassF1Score(5, average="macro", ignore_index=IGNORED),
        "weighted_f1": MulticlassF1Score(5, average="weighted", ignore_index=IGNORED),
        "calibration_error": MulticlassCalibrationError(5, 15, ignore_index=IGNORED),
    }
    assert list(values) == ["calibration_error", "accuracy", "macro_f1", "weighted_f1"]
    for name, metric in others.items():
        expected = metric(outputs.softmax(-1), targets).item()
        assert values[name].item() == pytest.approx(expected, rel=1e-6), name
    assert report.confusion is not None
    confusion = MulticlassConfusionMatrix(5, ignore_index=IGNORED)(outputs, targets)
    assert torch.equal(report.confusion, confusion)
    assert [row[0] for row in report.rows] == target.names


def test_rows_of_classes_by_hand() -> None:
    outputs = torch.tensor([[2.0, 0, 0], [2, 0, 0], [0, 2, 0], [2, 0, 0]])
    _, report = evaluated(one_class(3), [(outputs, torch.tensor([0, 0, 1, 1]))])
    assert report.header == ["class", "precision", "recall", "f1", "support"]
    first, second, third = report.rows
    assert first == ["c0", pytest.approx(2 / 3), 1.0, pytest.approx(0.8), 2]
    assert second == ["c1", 1.0, 0.5, pytest.approx(2 / 3), 2]
    assert third[0] == "c2"
    assert all(math.isnan(float(measure)) for measure in third[1:4])
    assert third[4] == 0


def test_of_very_many_classes_pairs_are_not_counted() -> None:
    outputs = torch.randn(50, 1001)
    targets = torch.randint(1001, (50,))
    values, report = evaluated(one_class(1001), [(outputs, targets)])
    assert report.confusion is None
    assert len(report.rows) == 1001
    assert values["accuracy"] == (outputs.argmax(-1) == targets).double().mean()
    assert state(one_class(1001).new_metrics()) == [(3, 1001), (15, 3)]


def test_memory_does_not_grow_with_the_examples() -> None:
    metrics = one_class(3).new_metrics()
    for _ in range(3):
        one_class(3).update(metrics, torch.randn(100, 3), torch.randint(3, (100,)))
    assert state(metrics) == [(6, 3), (15, 3)]


def test_a_certain_answer_is_in_the_last_bin() -> None:
    outputs = torch.tensor([[99.0, -99], [99, -99], [-99, 99], [-99, 99]])
    values, _ = evaluated(one_class(2), [(outputs, torch.tensor([0, 0, 1, 0]))])
    assert values["calibration_error"] == 0.25


KINDS: dict[str, tuple[Target, Tensor]] = {
    "class": (one_class(3), torch.full((4,), IGNORED)),
    "labels": (Labels(["a", "b", "c"], LossSettings(), [1] * 3, [2] * 3), torch.full((4, 3), NAN)),
    "numbers": (
        Numbers(["a", "b", "c"], LossSettings(), [0.0] * 3, [1.0] * 3),
        torch.full((4, 3), NAN),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["val", "test"])
def test_where_no_target_is_known_nothing_is_defined(kind: str, stage: str) -> None:
    target, unknown = KINDS[kind]
    values, report = evaluated(target, [(torch.randn(4, 3), unknown)], stage)
    assert values.keys() == target.scores.keys() - {"loss"}
    assert all(value.ndim == 0 and value.isnan() for value in values.values())
    assert [row[-1] for row in report.rows] == [0, 0, 0]
    assert report.text().count("-") >= 9


def test_where_only_one_value_occurs_what_is_undefined_is_not_a_number() -> None:
    labels = Labels(["a", "b"], LossSettings(), [1, 1], [2, 2])
    always = torch.tensor([[1.0, 0.0]]).expand(4, 2)
    values, report = evaluated(labels, [(torch.randn(4, 2), always)], "val")
    assert values["roc_auc"].isnan()
    assert labels.thresholds.tolist() == [0.5, 0.5]
    numbers = Numbers(["a"], LossSettings(), [2.0], [1.0])
    values, report = evaluated(numbers, [(torch.zeros(4, 1), torch.full((4, 1), 1.0))])
    assert values["mae"] == 1.0
    assert values["r2"].isnan()
    assert report.text().splitlines()[1].split() == ["a", "1.0000", "1.0000", "-", "4"]
    values, report = evaluated(one_class(2), [(torch.eye(2)[[0, 0]], torch.tensor([0, 0]))])
    assert values["macro_f1"] == 1.0  # of the only class that occurs


@pytest.mark.parametrize("kind", KINDS)
def test_steps_count_like_sequences(kind: str) -> None:
    target, unknown = KINDS[kind]
    outputs = torch.randn(2, 5, 3)
    targets = {
        "class": torch.randint(3, (2, 5)),
        "labels": torch.tensor([0.0, 1.0])[torch.randint(2, (2, 5, 3))],
        "numbers": torch.randn(2, 5, 3),
    }[kind]
    targets[1, 3:] = unknown[0]
    values, report = evaluated(target, [(outputs, targets)])
    flat = outputs.flatten(0, 1)[:8], targets.flatten(0, 1)[:8]
    expected, expected_report = evaluated(target, [flat])
    for name, value in values.items():
        assert torch.equal(value, expected[name]), name
    assert report.text() == expected_report.text()
