"""The bar chart of the SRU paper, drawn from measurements."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srulight.bench.measure import Result
from srulight.bench.report import title, unit
from srulight.runtime.atomic_io import written

ACROSS = 2
"""Panels side by side."""
MOST = 12
"""Panels that a picture has room for."""
FLOORS = ("products", "F.linear")
BLUE, ORANGE, GRAY = ("#1f5fa8", "#9dc0e6"), ("#b5541c", "#f0b993"), ("#6b6b6b", "#c4c4c4")
"""Colors of srulight's layers, of others and of lower bounds: forward, and backward."""
DPI = 150


def draw(
    groups: Sequence[Sequence[Result]], ours: Sequence[str], subtitle: str, folder: Path
) -> list[Path]:
    """Draws a panel of bars for each group, as figure 2 of Lei et al. (arXiv 1709.02755).

    Args:
        groups: Results of cases that differ in the pass only. At most ``MOST`` are drawn.
        ours: Names of the contenders that srulight implements.
        subtitle: Machine, versions and date.
        folder: Folder for ``bench.png`` and ``bench.svg``, which replace older ones.

    Returns:
        Paths of the pictures.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    groups = groups[:MOST]
    across = min(ACROSS, len(groups))
    down = math.ceil(len(groups) / across)
    most = max(len(_names(group)) for group in groups)
    height = 0.24 * most + 1.1
    figure = Figure(figsize=(6.2 * across, height * down + 0.7), layout="constrained")
    for place, group in enumerate(groups, 1):
        _panel(figure.add_subplot(down, across, place), group, ours)
    colors = "blue: srulight, orange: others, gray: the matrix products of SRU alone"
    figure.suptitle(f"Time of one layer ({colors})\n{subtitle}", fontsize=10)
    paths = []
    # Text stays text in the SVG file, and the file is the same for the same measurements.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "srulight"}):
        for ending in ("png", "svg"):
            path = folder / f"bench.{ending}"
            metadata = {"Date": None} if ending == "svg" else {}
            with written(path) as part:
                figure.savefig(part, format=ending, dpi=DPI, metadata=metadata)
            paths.append(path)
    return paths


def _names(group: Sequence[Result]) -> list[str]:
    found = dict.fromkeys(name for result in group for name in result.timings)
    return [name for name in found if name != "copy"]  # far shorter than all other bars


def _panel(axes: Any, group: Sequence[Result], ours: Sequence[str]) -> None:  # noqa: ANN401
    """Draws the bars of a group: forward and, on top of it, backward."""
    by_pass = {result.case.passing: result for result in group}
    last = by_pass.get("training") or group[0]
    symbol, factor = unit(group)
    names = _names(group)
    end = 0.0
    for place, name in enumerate(names):
        dark, light = GRAY if name in FLOORS else BLUE if name in ours else ORANGE
        times = {
            key: result.timings[name].seconds.median * factor
            for key, result in by_pass.items()
            if name in result.timings
        }
        first = times.get("forward", times.get("step", 0.0))
        total = max(times.values())
        axes.barh(place, total, color=light, height=0.75)
        axes.barh(place, min(first, total), color=dark, height=0.75)
        label = f" {total:,.3g}" if total < 1000 else f" {total:,.0f}"
        timing = last.timings.get(name)
        if timing is None:
            key = next(iter(times))
            label += f"   {key} only: {by_pass[key].timings[name].ratio.median:.2f} x"
        elif name != last.reference:
            label += f"   {timing.ratio.median:.2f} x"
        axes.text(total, place, label, va="center", fontsize=8)
        end = max(end, total)
    axes.set(xlim=(0, 1.3 * end), ylim=(len(names) - 0.4, -0.6))
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_title(title(group[0].case), fontsize=9)
    parts = "dark: forward, light: backward; " if len(by_pass) > 1 else ""
    axes.set_xlabel(f"{symbol} ({parts}x: relative to {last.reference})", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
