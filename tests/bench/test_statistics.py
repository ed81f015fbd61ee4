"""Medians, ratios and intervals, with numbers that were worked out by hand."""

from statistics import median

import pytest
import torch

from srulight.bench.statistics import LEAST, estimate, rank, ratio


@pytest.mark.parametrize(
    ("count", "k"),
    # P(X = 0) is 1 / 32 for 5 values, more than 2.5%, and 1 / 64 for 6. For 8 values P(X <= 1) is
    # 9 / 256, and for 9 it is 10 / 512. The others are those of Conover's table A3.
    [(1, 1), (5, 1), (6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (30, 10)],
)
def test_the_interval_ends_at_ranks_of_the_binomial_distribution(count: int, k: int) -> None:
    assert rank(count) == k
    assert LEAST == 6


def test_an_interval_lies_between_values() -> None:
    # Of nine values, the second smallest and the second largest.
    found = estimate([9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0])
    assert found == (5.0, 2.0, 8.0)
    assert estimate([3.0, 1.0]) == (2.0, 1.0, 3.0)


def test_a_ratio_compares_times_of_the_same_round() -> None:
    # The machine is ten times as slow in the last two rounds, for both.
    times, others = [2.0, 3.0, 4.0, 5.0, 20.0, 30.0], [1.0, 1.0, 1.0, 1.0, 10.0, 10.0]
    assert ratio(times, others) == (3.0, 2.0, 5.0)
    with pytest.raises(ValueError, match="shorter"):
        ratio(times, others[1:])


def test_intervals_contain_the_median_as_often_as_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    # The median of an exponential distribution is log(2), and it is skewed as times are.
    draws = torch.empty(4000, 9).exponential_(generator=generator).tolist()
    hits = [low <= 0.6931 <= high for _, low, high in map(estimate, draws)]
    # 1 - 20 / 512 of the intervals contain it; three standard deviations are 0.9%.
    assert sum(hits) / len(hits) == pytest.approx(1 - 20 / 512, abs=0.009)
    assert median(estimate(row).median for row in draws) == pytest.approx(0.72, abs=0.03)
