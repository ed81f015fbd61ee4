"""What the results of several seeds allow to say."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

_NORMAL = 1.959964  # quantile 0.975 of the standard normal distribution
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""Quantile 0.975 of Student's t distribution with 1 to 10 degrees of freedom."""


class Interval(NamedTuple):
    """A mean difference with its confidence interval.

    Attributes:
        mean: The mean.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    mean: float
    low: float
    high: float


def student(freedom: int) -> float:
    """Returns quantile 0.975 of Student's t distribution.

    Args:
        freedom: Degrees of freedom, at least 1. Above 10, the first terms of the expansion of
            Cornish and Fisher are used (Abramowitz and Stegun 1964, equation 26.7.5), with an error
            below 0.001.
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = _NORMAL
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Interval | None:
    """Computes the 95% confidence interval of a mean difference, by Student's paired test.

    Args:
        ours: Results of one contender, one per seed.
        theirs: Results of the other contender, of the same seeds.

    Returns:
        The difference ``ours - theirs``; None with fewer than two seeds.
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    if len(differences) < 2:
        return None
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    reach = student(len(differences) - 1) * error
    return Interval(mean, mean - reach, mean + reach)


def verdict(
    first: str, other: str, metric: str, ours: Sequence[float], theirs: Sequence[float]
) -> str:
    """Says in a sentence whether two encoders differ.

    Args:
        first: Name of the encoder with the results ``ours``.
        other: Name of the encoder with the results ``theirs``.
        metric: Name of the metric.
        ours: Results of the first encoder, one per seed.
        theirs: Results of the other encoder, of the same seeds.
    """
    interval = paired(ours, theirs)
    if interval is None:
        return f"{first} and {other} cannot be compared on one seed; raise --seeds."
    mean, low, high = interval
    seeds = f"on {len(ours)} seeds"
    by = f"{mean:+.3g} (95% interval {low:+.3g} to {high:+.3g})"
    if low <= 0 <= high:
        return f"{first} and {other} cannot be told apart {seeds}: {metric} differs by {by}."
    higher = "higher" if mean > 0 else "lower"
    return f"{first} has a {higher} {metric} than {other} {seeds}: it differs by {by}."


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Formats the mean and, if there are several values, the standard deviation.

    Args:
        values: Values, at least one.
        digits: Number of significant digits of the largest of them.
    """
    mean = statistics.mean(values)
    decimals = max(0, digits - 1 - math.floor(math.log10(max(abs(mean), 1e-9)))) if mean else digits
    decimals = min(decimals, digits)
    text = f"{mean:,.{decimals}f}"
    return f"{text} ± {statistics.stdev(values):,.{decimals}f}" if len(values) > 1 else text
