"""Targets are described by plain metadata, and built from them."""

import math
from typing import Any

import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.targets import LossSettings, Numbers, build_target
from srulight.targets.build import KINDS
from srulight.targets.statistics import describe_target

NAN = math.nan
CLASSES = torch.tensor([0, 2, 2, -100])
LABELS = torch.tensor([[1.0, 0.0], [1.0, NAN], [0.0, NAN]])
NUMBERS = torch.tensor([[1.0, 5.0], [3.0, 5.0], [NAN, 5.0]])


def test_metadata_by_hand() -> None:
    about = describe_target("class", ["a", "b", "c"], ["label"], CLASSES)
    assert about == {
        "kind": "class", "names": ["a", "b", "c"], "columns": ["label"], "counts": [1, 0, 2],
    }  # fmt: skip
    about = describe_target("labels", ["a", "b"], [], LABELS)
    assert (about["counts"], about["totals"]) == ([2, 0], [3, 1])
    about = describe_target("numbers", ["x", "y"], [], NUMBERS)
    # A number that never changes is not scaled.
    assert (about["mean"], about["std"]) == ([2, 5], [1, 1])


def test_a_large_constant_number_is_not_scaled_by_rounding_errors() -> None:
    about = describe_target("numbers", ["x"], [], torch.full((1000, 1), 0.1))
    assert about["mean"] == pytest.approx([0.1])
    assert about["std"][0] >= 1


@pytest.mark.parametrize(
    ("kind", "targets"), [("class", CLASSES), ("labels", LABELS), ("numbers", NUMBERS)]
)
def test_metadata_build_the_target(kind: Any, targets: torch.Tensor) -> None:  # noqa: ANN401
    names = ["a", "b", "c"][: 3 if kind == "class" else 2]
    target = build_target(describe_target(kind, names, [], targets), LossSettings())
    assert type(target) is KINDS[kind]
    assert target.names == names
    assert target.output_size == len(names)
    assert next(iter(target.scores)) != "loss"


def test_numbers_are_standardized_by_the_metadata() -> None:
    target = build_target(describe_target("numbers", ["x", "y"], [], NUMBERS), LossSettings())
    assert isinstance(target, Numbers)
    assert target.answers(torch.tensor([[0.5, 0.5]]))[0].values == [2.5, 5.5]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "words"}, "target in the metadata.kind must be class, labels, numbers, got 'wor"),
        ({"names": "ab"}, "target in the metadata.names must be of type list, got str"),
        (
            {"counts": [1]},
            r"target in the metadata.counts must have one item per name \(3\), got 1",
        ),
        ({"counts": [1, 2, -1]}, "must be at least 0, got -1"),
        ({"columns": [1]}, "must be of type str, got int"),
    ],
)
def test_other_metadata_are_refused(change: dict[str, Any], why: str) -> None:
    about = describe_target("class", ["a", "b", "c"], [], CLASSES) | change
    with pytest.raises(InputError, match=why):
        build_target(about, LossSettings())
