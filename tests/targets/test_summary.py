"""Targets are described before training, and those that look like a mistake are pointed out."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from srulight.data.base import IGNORED
from srulight.runtime.errors import InputError
from srulight.targets.summary import check_targets, describe_targets, suspicions

NAN = math.nan
NOTHING = torch.full((2, 1), NAN)


@pytest.mark.parametrize(
    ("kind", "names", "targets", "said"),
    [
        ("class", "abc", torch.tensor([2, 0, 2, 2]), "classes: c 75.0%, a 25.0%"),
        ("class", "ab", torch.tensor([1, IGNORED]), "classes: b 100.0%; 1 missing"),
        ("class", "ab", torch.tensor([IGNORED]), "classes: none known; 1 missing"),
        (
            "class", "abcdefgh", torch.arange(8),
            "classes: a 12.5%, b 12.5%, c 12.5%, d 12.5%, e 12.5%, f 12.5% and 2 more",
        ),
        (
            "labels", "abc", torch.tensor([[0, 1, 0.0], [0, NAN, 1], [0, 1, 0], [0, NAN, 0]]),
            "labels: b 100.0%, c 25.0%, a 0.0%; 2 missing",
        ),
        (
            "numbers", "xy", torch.tensor([[1.0, -1500.0], [3.0, NAN]]),
            "numbers: x mean 2, sd 1, min 1, max 3; y mean -1500, sd 0, min -1500, max -1500; 1 "
            "missing",
        ),
        ("numbers", "x", NOTHING, "numbers: none known; 2 missing"),
    ],
)  # fmt: skip
def test_balance_and_range(kind: Any, names: str, targets: Tensor, said: str) -> None:  # noqa: ANN401
    assert describe_targets(kind, list(names), targets) == said


@pytest.mark.parametrize(
    ("kind", "names", "targets", "why"),
    [
        (
            "class",
            "ab",
            torch.tensor([1, 1, IGNORED]),
            "at least two labels, got 'b' for all 2; ad",
        ),
        ("class", "ab", torch.tensor([IGNORED] * 2), "with a target, got 2 without one; fill in"),
        ("labels", "a", NOTHING, "expected training rows with a target, got 2 without one"),
        ("labels", "ab", torch.tensor([[0.0, 1], [0, NAN]]), "different labels, got the same a, b"),
        ("numbers", "x", torch.tensor([[0.1], [0.1]]), "different numbers, got the same x for all"),
    ],
)
def test_data_without_anything_to_learn_are_refused(
    kind: Any, names: str, targets: Tensor, why: str  # noqa: ANN401
) -> None:  # fmt: skip
    with pytest.raises(InputError, match=why):
        check_targets(kind, list(names), targets, "rows")


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("class", torch.tensor([0, 1])),
        ("class", torch.tensor([0])),
        ("class", torch.zeros(0, dtype=torch.long)),
        ("labels", torch.tensor([[0.0, 1], [0, 0]])),
        ("numbers", torch.tensor([[0.1, 5], [0.2, NAN]])),
    ],
)
def test_other_data_are_not(kind: Any, targets: Tensor) -> None:  # noqa: ANN401
    check_targets(kind, ["a", "b"], targets, "rows")


@pytest.mark.parametrize(
    ("kind", "targets", "said"),
    [
        ("class", torch.tensor([0, 0, 1, 1, 2, 2]), []),
        (
            "class", torch.tensor([0, 0, 0, 2, IGNORED]),
            ["2 of 3 classes have at most one of the training rows: b, c; add rows, or merge "
             "classes"],
        ),
        ("labels", torch.tensor([[0.0, 1, 1], [1, 0, 0]]), []),
        (
            "labels", torch.tensor([[0.0, 1, NAN], [1, 1, NAN]]),
            ["2 of 3 labels never change in the training rows: b, c; leave them out, or add rows"],
        ),
        (
            "numbers", torch.tensor([[0.0, 1, 5], [1, 2, 5]]),
            ["1 of 3 numbers never change in the training rows: c; leave them out, or add rows"],
        ),
    ],
)  # fmt: skip
def test_rare_and_constant_targets_are_counted(kind: Any, targets: Tensor, said: list[str]) -> None:  # noqa: ANN401
    assert list(suspicions(kind, ["a", "b", "c"], targets, "rows")) == said
