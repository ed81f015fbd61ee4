"""The report of a test: a table with one row per class, label or number."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_utilities.core.imports import module_available

from srulight.runtime.atomic_io import written


@dataclass(frozen=True)
class Report:
    """What a test found for each class, label or number.

    Attributes:
        header: Names of the columns.
        rows: One row per class, label or number: its name, measures (NaN where undefined), and the
            number of examples.
        confusion: Number of examples of each true class (row) by predicted class (column); None for
            labels and numbers.
        names: Names of the classes, in the order of ``confusion``.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    confusion: Sequence[Sequence[int]] | None = None
    names: Sequence[str] = ()

    def text(self) -> str:
        """Returns the table with aligned columns, for a terminal."""
        rows = [list(self.header), *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def write(self, folder: Path, stage: str) -> list[Path]:
        """Writes the table as CSV and, if matplotlib is installed, a picture of the confusion.

        Args:
            folder: Folder to write to.
            stage: "test" or "val", the first part of the names of the files.

        Returns:
            Paths of the files.
        """
        table = folder / f"{stage}-report.csv"
        with written(table) as part, part.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([self.header, *self.rows])
        paths = [table]
        if self.confusion is not None and module_available("matplotlib"):
            paths.append(folder / f"{stage}-confusion.png")
            _draw(self.confusion, self.names, paths[-1])
        return paths


def _shown(cell: str | float) -> str:
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _draw(confusion: Sequence[Sequence[int]], names: Sequence[str], picture: Path) -> None:
    """Draws each row of a confusion matrix as shares, with the numbers of examples in the cells."""
    from matplotlib.figure import Figure

    size = max(3.0, min(0.6 * len(names), 16.0))
    figure = Figure(figsize=(size + 1.5, size + 0.5), layout="constrained")
    axes = figure.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in confusion]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, names)
    axes.set(xlabel="predicted", ylabel="true")
    if len(names) <= 25:
        for i, row in enumerate(confusion):
            for j, count in enumerate(row):
                color = "white" if shares[i][j] > 0.5 else "black"
                axes.text(j, i, f"{count:,}", ha="center", va="center", color=color, fontsize=7)
    figure.colorbar(image, ax=axes, label="share of the true class")
    with written(picture) as part:
        figure.savefig(part, dpi=120, format="png")
