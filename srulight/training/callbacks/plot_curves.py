"""Plots the metrics of a run."""

import csv
import math
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning_utilities.core.imports import module_available

from srulight.runtime.atomic_io import written
from srulight.training.logger import Log

_WIDEST = 4  # Plots side by side.


class PlotCurves(Callback):
    """Plots each validation metric, and the training metric of the same name, over the steps.

    When a run ends, the plot is saved as ``curves.png`` beside the log. This requires matplotlib;
    without it, the callback does nothing.
    """

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logs = [logger for logger in trainer.loggers if isinstance(logger, Log)]
        if not logs or not trainer.is_global_zero or not module_available("matplotlib"):
            return
        table = logs[0].table
        table.save()
        if table.path.is_file():
            draw(table.path, table.path.with_name("curves.png"))


def draw(log: Path, picture: Path) -> None:
    """Plots a log.

    Args:
        log: Path of a ``metrics.csv`` with a column ``step`` and columns such as ``val/loss``.
        picture: Path of the PNG file to write.
    """
    from matplotlib.figure import Figure

    with log.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted(
        {name.removeprefix("val/") for name in rows[0] if name.startswith("val/")} if rows else ()
    )
    if not names:
        return
    lines = math.ceil(len(names) / _WIDEST)
    columns = math.ceil(len(names) / lines)
    figure = Figure(figsize=(4 * columns, 3 * lines), layout="constrained")
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(lines, columns, place)
        for stage in ("train", "val"):
            points = [
                (int(row["step"]), float(row[key]))
                for row in rows
                if row.get(key := f"{stage}/{name}")
            ]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=stage)
        axes.set(title=name, xlabel="step")
        axes.legend()
    with written(picture) as part:
        figure.savefig(part, dpi=120, format="png")
