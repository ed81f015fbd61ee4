"""Pictures of a sweep: its history, the importance of the settings, and their values."""

import math
import warnings
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srulight.experiments.ranges import Range
from srulight.experiments.trials import Trials
from srulight.runtime.atomic_io import written

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_BLUE, _GRAY, _RED = "#0072b2", "#999999", "#d55e00"  # distinguishable for all readers
_WIDEST = 4  # plots side by side
_LONGEST = 24  # characters of the label of a choice


def save(trials: Trials, monitor: str) -> list[Path]:
    """Draws the pictures, each as PNG and as SVG.

    Args:
        trials: The trials, at least one of which has ended.
        monitor: Name of the metric.

    Returns:
        Paths of the PNG files.
    """
    ended = sorted(trials.ended(), key=lambda trial: trial.number)
    figures = {"history": history(ended, monitor, trials.search.mode)}
    complete = [trial for trial in ended if trial.state.name == "COMPLETE"]
    if complete:
        figures["settings"] = settings(ended, monitor, trials.search.ranges)
    if len(complete) > 1:
        figures["importance"] = importance(importances(trials), len(complete))
    paths = []
    for name, figure in figures.items():
        for form in ("png", "svg"):
            path = trials.output / f"{name}.{form}"
            with written(path) as part:
                figure.savefig(part, dpi=120, format=form)
            paths.append(path)
    return [path for path in paths if path.suffix == ".png"]


def importances(trials: Trials) -> dict[str, float]:
    """Returns how much each setting matters for being among the best tenth of the trials.

    The measure is PED-ANOVA (Watanabe et al., 2023, arXiv 2304.10255), divided by its sum.

    Args:
        trials: The trials.

    Returns:
        A number from 0 to 1 for each setting, by its name, the largest first.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # with few trials, the picture says so
        return get_param_importances(trials.study, evaluator=PedAnovaImportanceEvaluator())


def history(ended: Sequence["FrozenTrial"], monitor: str, mode: str) -> Any:  # noqa: ANN401
    """Draws the metric of each trial, and the best one so far.

    Args:
        ended: Trials that have ended, in the order of their numbers.
        monitor: Name of the metric.
        mode: "max" if larger values are better, or "min".
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for state, label, color, marker in (
        ("COMPLETE", "trial", _BLUE, "o"),
        ("PRUNED", "pruned, last value", _GRAY, "x"),
    ):
        if points := _points(ended, state):
            axes.scatter(*zip(*points, strict=True), label=label, color=color, marker=marker)
    if complete := _points(ended, "COMPLETE"):
        best = list(accumulate((value for _, value in complete), max if mode == "max" else min))
        numbers = [number for number, _ in complete]
        if numbers[-1] < ended[-1].number:  # the line reaches to the last trial
            numbers.append(ended[-1].number)
            best.append(best[-1])
        axes.step(numbers, best, where="post", label="best so far", color=_BLUE)
    if failed := [trial.number for trial in ended if trial.state.name == "FAIL"]:
        axes.plot(
            failed, [0.02] * len(failed), "|", color=_RED, markersize=10, label="failed",
            transform=axes.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
    axes.set(xlabel="trial", ylabel=_plain(monitor))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def importance(shares: dict[str, float], count: int) -> Any:  # noqa: ANN401
    """Draws how important the settings are.

    Args:
        shares: Importance by the name of the setting, from 0 to 1.
        count: Number of trials that it was computed from.
    """
    from matplotlib.figure import Figure

    names = sorted(shares, key=lambda name: shares[name])
    figure = Figure(figsize=(7, 1.4 + 0.4 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(
        [_plain(name) for name in names], [shares[name] for name in names], color=_BLUE
    )
    axes.bar_label(bars, fmt="%.2f", padding=3)
    title = f"Importance, from {count} finished trials"
    if count < 50:  # the best tenth has fewer than 5 trials, which Optuna advises
        title += " (50 or more make it reliable)"
    axes.set(xlabel="share of importance (PED-ANOVA)", xlim=(0, 1.1))
    axes.set_title(title, fontsize="medium")
    return figure


def settings(ended: Sequence["FrozenTrial"], monitor: str, ranges: Sequence[Range]) -> Any:  # noqa: ANN401
    """Draws the metric over the values of each setting.

    Args:
        ended: Trials that have ended.
        monitor: Name of the metric.
        ranges: The ranges.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    lines = math.ceil(len(ranges) / _WIDEST)
    columns = math.ceil(len(ranges) / lines)
    figure = Figure(figsize=(max(3.2 * columns, 4), 3 * lines), layout="constrained")
    first = None
    for place, one in enumerate(ranges, 1):
        axes = figure.add_subplot(lines, columns, place, sharey=first)
        first = first or axes
        for state, color, marker in (("PRUNED", _GRAY, "x"), ("COMPLETE", _BLUE, "o")):
            points = [
                (
                    one.choices.index(t.params[one.key]) if one.choices else t.params[one.key],
                    t.value,
                )
                for t in ended
                if t.state.name == state and t.value is not None
            ]
            if points:
                values, metric = zip(*points, strict=True)
                axes.scatter(values, metric, color=color, marker=marker, s=20)
        if one.choices:
            labels = [_plain(text)[:_LONGEST] for text in one.choices]
            axes.set_xticks(range(len(labels)), labels, rotation=20 if len(labels) > 3 else 0)
            axes.set_xlim(-0.5, len(labels) - 0.5)
        elif one.is_log:
            axes.set(xscale="log", xlim=(one.low / 1.1, one.high * 1.1))
        else:
            margin = 0.04 * (one.high - one.low)
            axes.set(xlim=(one.low - margin, one.high + margin))
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=isinstance(one.low, int)))
        axes.set(xlabel=_plain(one.key))
        axes.grid(alpha=0.3)
        if (place - 1) % columns == 0:
            axes.set_ylabel(_plain(monitor))
        else:
            axes.tick_params(labelleft=False)
    return figure


def _points(ended: Sequence["FrozenTrial"], state: str) -> list[tuple[int, float]]:
    return [
        (trial.number, trial.value)
        for trial in ended
        if trial.state.name == state and trial.value is not None
    ]


def _plain(text: str) -> str:
    """Returns text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")
