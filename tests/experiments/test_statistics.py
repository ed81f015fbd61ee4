"""Intervals and sentences; the quantiles are those of printed tables of Student's distribution."""

import pytest

from srulight.experiments.statistics import paired, spread, student, verdict


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (10, 2.228), (11, 2.201), (20, 2.086), (60, 2.000)],
)
def test_quantiles_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    assert student(freedom) == pytest.approx(quantile, abs=1e-3)


def test_the_interval_is_that_of_a_paired_test() -> None:
    # The differences 1, 2 and 3 have the mean 2 and the standard deviation 1.
    # The interval is 2 +- 4.3027 / sqrt(3).
    interval = paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert interval is not None
    assert interval == pytest.approx((2, 2 - 2.4842, 2 + 2.4842), abs=1e-4)
    assert paired([1.0], [2.0]) is None


def test_an_interval_around_zero_tells_nothing_apart() -> None:
    said = verdict("SRU", "LSTM", "test accuracy", [0.8, 0.9, 0.7], [0.7, 0.9, 0.8])
    assert said.startswith("SRU and LSTM cannot be told apart on 3 seeds")


@pytest.mark.parametrize(("other", "higher"), [(0.5, "higher"), (0.99, "lower")])
def test_a_clear_difference_has_a_direction(other: float, higher: str) -> None:
    said = verdict("SRU", "LSTM", "test wer", [0.8, 0.81, 0.8], [other, other, other])
    assert said.startswith(f"SRU has a {higher} test wer than LSTM on 3 seeds")


def test_one_seed_compares_nothing() -> None:
    assert "raise --seeds" in verdict("SRU", "LSTM", "test wer", [0.8], [0.1])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.5], "0.5000"), ([0.25, 0.75], "0.5000 ± 0.3536"), ([190.123], "190.1"),
        ([1234.5, 1235.5], "1,235 ± 1"), ([0.0], "0.0000"),
    ],
)  # fmt: skip
def test_a_spread_has_four_digits(values: list[float], text: str) -> None:
    assert spread(values) == text
