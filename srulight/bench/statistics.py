"""Medians of ratios, with intervals that say how far they can be trusted."""

from collections.abc import Sequence
from math import comb
from statistics import median
from typing import NamedTuple

CONFIDENCE = 0.95
"""Probability with which an interval contains the median, at least."""
LEAST = 6
"""Smallest number of values with such an interval: the probability that all of 5 values are on one
side of the median is 2 / 2 ** 5, more than 5%."""


class Estimate(NamedTuple):
    """A median and its confidence interval.

    Attributes:
        median: Median of the values.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    median: float
    low: float
    high: float


def rank(count: int) -> int:
    """Returns which smallest and largest value bound the interval of a median.

    The number of values below the median of their distribution is binomial with probability 1/2,
    whatever the distribution is (Conover, Practical Nonparametric Statistics, section 3.2). The
    interval from the k-th smallest to the k-th largest value therefore misses the median with
    probability 2 P(X <= k - 1).

    Args:
        count: Number of values, n.

    Returns:
        The largest k with at least the probability ``CONFIDENCE``, or 1 for fewer than ``LEAST``
        values, whose whole range is the best that there is.
    """
    outside, k = 0.0, 0
    while 2 * (outside := outside + comb(count, k) / 2**count) <= 1 - CONFIDENCE:
        k += 1
    return max(k, 1)


def estimate(values: Sequence[float]) -> Estimate:
    """Returns the median of values and its interval.

    Args:
        values: Values of independent measurements, at least one.
    """
    ordered, k = sorted(values), rank(len(values))
    return Estimate(median(ordered), ordered[k - 1], ordered[-k])


def ratio(times: Sequence[float], others: Sequence[float]) -> Estimate:
    """Returns the median of the ratios of times that were measured in the same round.

    Args:
        times: Seconds of one contender in each round.
        others: Seconds of the other contender in the same rounds, above 0.
    """
    return estimate([a / b for a, b in zip(times, others, strict=True)])
