"""Targets are read from the cells of tables."""

import math
from decimal import Decimal
from typing import Any

import pytest

from srulight.runtime.errors import InputError
from srulight.targets.cells import flag, is_missing, number

MISSING = [None, "", "  ", math.nan, Decimal("nan")]


@pytest.mark.parametrize("value", MISSING)
def test_missing_cells(value: object) -> None:
    assert is_missing(value)
    assert math.isnan(number(value, "x", "a.csv:2"))
    assert math.isnan(flag(value, "x", "a.csv:2"))


@pytest.mark.parametrize("value", ["NaN", "nan ", "NA", "null"])
def test_words_for_missing_numbers_may_be_names_of_classes(value: str) -> None:
    assert not is_missing(value)
    assert math.isnan(number(value, "x", "a.csv:2"))
    assert math.isnan(flag(value, "x", "a.csv:2"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(" 1.5", 1.5), ("-2e3", -2000), (7, 7), (Decimal("0.1"), 0.1), ("1e38", 1e38), (True, 1)],
)
def test_numbers(value: object, expected: float) -> None:
    assert number(value, "x", "a.csv:2") == expected


@pytest.mark.parametrize("value", ["1,5", "1_000", "\u0663", "cheap", [1], {}])
def test_other_cells_are_refused(value: Any) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=r"a.csv:2: expected a number in column 'x', got"):
        number(value, "x", "a.csv:2")


@pytest.mark.parametrize("value", ["inf", "-1e39", math.inf, 10**400, "9" * 5000])
def test_infinite_numbers_are_refused(value: Any) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=r"a.csv:2: expected a finite number in column 'x', got"):
        number(value, "x", "a.csv:2")


@pytest.mark.parametrize("value", [1, 1.0, "1", " 1.0", True, "True", "true"])
def test_labels_that_apply(value: object) -> None:
    assert flag(value, "x", "a.csv:2") == 1


@pytest.mark.parametrize("value", [0, 0.0, "0", "0.0 ", False, "FALSE"])
def test_labels_that_do_not_apply(value: object) -> None:
    assert flag(value, "x", "a.csv:2") == 0


@pytest.mark.parametrize("value", [2, 0.5, "yes", "inf", [1]])
def test_other_labels_are_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"a.csv:2: expected 0 or 1 in column 'x', got"):
        flag(value, "x", "a.csv:2")
