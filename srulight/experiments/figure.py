"""The picture of a comparison: a metric over the training time, as in the SRU paper."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_utilities.core.imports import module_available

from srulight.runtime.atomic_io import written

Curve = Sequence[tuple[float, float]]
"""Pairs of training time in seconds and value of a metric, one for each validation."""

_MARKERS = "osD^vP*X"


def draw(path: Path, curves: Mapping[str, Sequence[Curve]], metric: str, title: str) -> list[Path]:
    """Draws a line for each encoder: the mean over its trainings, within the range of all of them.

    Args:
        path: Path of the pictures, without extension.
        curves: Curves by the name of the encoder, one for each training.
        metric: Name of the metric.
        title: Title of the picture.

    Returns:
        Paths of a PNG and an SVG file; none if matplotlib is not installed.
    """
    if not module_available("matplotlib"):
        return []
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for (name, several), marker in zip(curves.items(), _MARKERS * len(curves), strict=False):
        seconds, means, lows, highs = band(several)
        every = max(1, len(seconds) // 12)
        (line,) = axes.plot(
            seconds, means, label=name, marker=marker, markersize=5, markevery=every, linewidth=1.6
        )
        if len(several) > 1:
            axes.fill_between(seconds, lows, highs, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="training time (s)", ylabel=metric, title=title)
    longest = [curve[-1][0] for several in curves.values() for curve in several]
    if max(longest) > 8 * min(longest):  # otherwise, the curves of fast encoders are invisible
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    paths = []
    for ending in ("png", "svg"):
        # with_suffix would cut a name with a period.
        paths.append(path.with_name(f"{path.name}.{ending}"))
        with written(paths[-1]) as part:
            figure.savefig(part, dpi=150, format=ending)
    return paths


def band(curves: Sequence[Curve]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Averages curves validation by validation, as far as all of them reach.

    Args:
        curves: Curves of the same encoder, at least one.

    Returns:
        For each validation, the mean time, and the mean, smallest and largest value.
    """
    seconds, means, lows, highs = [], [], [], []
    for points in zip(*curves, strict=False):
        times, values = zip(*points, strict=True)
        seconds.append(statistics.mean(times))
        means.append(statistics.mean(values))
        lows.append(min(values))
        highs.append(max(values))
    return seconds, means, lows, highs
