"""The report of an evaluation: a table with one row per class, label or number."""

import csv
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_utilities.core.imports import module_available
from torch import Tensor

from srulight.runtime.atomic_io import written
from srulight.runtime.terminal import decimal, printable, shortened, width

_MOST = 100  # rows of a table that a terminal still shows in full
_LARGEST = 50  # rows that it shows of a longer table
_NAME = 40  # columns for a name


@dataclass(frozen=True)
class Report:
    """What an evaluation found for each class, label or number.

    Attributes:
        header: Names of the columns.
        rows: One row per class, label or number: its name, measures (NaN where undefined), and the
            number of examples, an integer.
        confusion: Number of examples of each true class (row) by predicted class (column), (C, C)
            int64, in the order of ``rows``; None for labels and numbers, and for very many classes.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    confusion: Tensor | None = None

    def text(self) -> str:
        """Returns the table with aligned columns, for a terminal.

        Of more than 100 rows, it contains the 50 with the most examples.
        """
        rows = self.rows
        if len(rows) > _MOST:
            rows = sorted(rows, key=lambda row: -int(row[-1]))[:_LARGEST]
        lines = [list(self.header), *([_shown(cell) for cell in row] for row in rows)]
        widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(
                cell + " " * (room - width(cell)) if i == 0 else cell.rjust(room)
                for i, (cell, room) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        if len(rows) < len(self.rows):
            table.append(f"({len(rows)} of {len(self.rows):,} rows, those with the most examples)")
        return "\n".join(table)

    def write(self, folder: Path, stage: str) -> list[Path]:
        """Writes the table as CSV and, if matplotlib is installed, a picture of the confusion.

        Measures that are undefined are empty cells.

        Args:
            folder: Folder to write to.
            stage: What was evaluated, such as "test"; the first part of the names of the files.

        Returns:
            Paths of the files.

        Raises:
            InputError: If a file cannot be written.
        """
        table = folder / f"{stage}-report.csv"
        with written(table) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.header)
            writer.writerows([_written(cell) for cell in row] for row in self.rows)
        if self.confusion is None or not module_available("matplotlib"):
            return [table]
        picture = folder / f"{stage}-confusion.png"
        draw(self.confusion, [str(row[0]) for row in self.rows], stage, picture)
        return [table, picture]


def _shown(cell: str | float) -> str:
    if isinstance(cell, str):
        return shortened(printable(cell), _NAME)
    if isinstance(cell, int):
        return f"{cell:,}"
    return "-" if math.isnan(cell) else decimal(cell)


def _written(cell: str | float) -> str | float:
    if isinstance(cell, str):
        return cell.encode(errors="replace").decode()  # half a character cannot be written
    return "" if math.isnan(cell) else cell


_POINTS = 72  # per inch
_FONT = 9  # largest size of text, points
_SMALLEST = 5  # smallest size of text, points
_LETTER = 0.65  # width of a letter or digit, relative to its size


def draw(confusion: Tensor, names: Sequence[str], stage: str, picture: Path) -> None:
    """Draws a confusion matrix.

    The color of a cell is its share of the true class, and the number in it that of the examples.

    Args:
        confusion: Number of examples of each true class (row) by predicted class (column), (C, C)
            int64.
        names: Names of the classes.
        stage: "test" or "val", for the title.
        picture: Path of the PNG file to write.
    """
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    size = len(names)
    side = max(2, min(0.7 * size, max(9, 0.2 * size), 12))  # inches
    cell = side / size * _POINTS
    actual = confusion.sum(1, keepdim=True)
    shares = (confusion / actual).numpy()  # NaN where a class has no examples
    # All parts lie around the matrix, outside the figure; saving it includes them.
    figure = Figure(figsize=(side, side))
    axes = figure.add_axes((0, 0, 1, 1))
    # Otherwise, confusions of a few percent would look like none.
    norm = PowerNorm(0.5, 0, 1)
    colors = colormaps["Blues"].with_extremes(bad="0.93")
    image = axes.imshow(shares, cmap=colors, norm=norm)
    bar = figure.add_axes((1 + 0.15 / side, 0, 0.15 / side, 1))
    figure.colorbar(image, cax=bar, label="share of the true class")

    names = [shortened(printable(name), 24) for name in names]
    font = max(_SMALLEST, min(_FONT, 0.9 * cell))
    every = math.ceil(font / cell)  # if not all names fit
    ticks = range(0, size, every)
    # A name with two dollar signs is no formula.
    axes.set_yticks(ticks, names[::every], fontsize=font, parse_math=False)
    axes.set_xticks(ticks, names[::every], fontsize=font, parse_math=False)
    if max(map(width, names)) * font * _LETTER > cell:
        angle, vertical = (45, "top") if cell > 2 * font else (90, "center")
        for label in axes.get_xticklabels():
            label.set(rotation=angle, rotation_mode="anchor", ha="right", va=vertical)
    correct, total = int(confusion.diag().sum()), int(actual.sum())
    accuracy = f", accuracy {correct / total:.4f}" if total else ""
    title = f"{stage}: {total:,} examples{accuracy}"
    axes.set(xlabel="predicted class", ylabel="true class", title=title)

    digits = len(f"{int(confusion.max()):,}")
    font = min(_FONT, 0.8 * cell, 0.9 * cell / (digits * _LETTER))
    if font >= _SMALLEST:
        for i, j in confusion.nonzero().tolist():
            color = "white" if norm(shares[i, j]) > 0.55 else "black"
            axes.text(
                j, i, f"{int(confusion[i, j]):,}", fontsize=font, color=color, ha="center",
                va="center", in_layout=False,
            )  # fmt: skip
    with written(picture) as part, warnings.catch_warnings():
        # The font lacks the letters of some languages, and shows boxes instead.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(part, dpi=120, format="png", bbox_inches="tight")
