"""Pictures of answers over time."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from lightning_utilities.core.imports import module_available

from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError
from srulight.targets import Target

_MOST_COLUMNS = 800  # Fewer than the pixels that a picture has.


class Pictures:
    """Draws a picture per video into a folder.

    Args:
        folder: The folder, which is created if it is missing.

    Raises:
        InputError: If matplotlib is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if not module_available("matplotlib"):
            raise InputError('plot needs matplotlib; install it: pip install "srulight[plot]"')
        self.folder = folder
        self._names: Counter[str] = Counter()

    def draw(self, path: str, target: Target, answers: list[Any], step: int) -> Path:
        """Draws the answers of a video, and returns the path of the picture.

        Args:
            path: Path of the video, whose name the picture gets.
            target: Target that is predicted.
            answers: Answers of the frames that the model reads.
            step: Distance of these frames, in frames of the video.
        """
        name = Path(path).resolve().stem
        self._names[name] += 1
        number = "" if self._names[name] == 1 else f"-{self._names[name]}"
        file = self.folder / f"{name}{number}.png"
        if target.kind == "numbers":
            figure = _curves(target, np.array([answer.values for answer in answers]), step)
        else:
            figure = _bands(target, np.array([one.probabilities for one in answers]), step)
        with written(file) as part:
            figure.savefig(part, dpi=100, format="png")
        return file


def _bands(target: Target, probabilities: Any, step: int) -> Any:  # noqa: ANN401
    """A row per class or label, which is the darker the higher its probability."""
    from matplotlib.figure import Figure

    count, frames = len(target.names), len(probabilities)
    # The frames of a long video are averaged, so that none is left out at random.
    starts = np.linspace(0, frames, min(frames, _MOST_COLUMNS), endpoint=False).astype(int)
    widths = np.diff(starts, append=frames)[:, None]
    probabilities = np.add.reduceat(probabilities, starts) / widths
    figure = Figure(figsize=(10, 1.2 + 0.32 * count), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(
        probabilities.T,
        vmin=0,
        vmax=1,
        cmap="Blues",
        aspect="auto",
        interpolation="nearest",
        extent=(-step / 2, (frames - 0.5) * step, count - 0.5, -0.5),
    )
    axes.set_yticks(range(count), target.names)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", axis="y", color="gray", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("frame")
    figure.colorbar(image, ax=axes, label="probability", pad=0.01)
    _plain(axes)
    return figure


def _curves(target: Target, values: Any, step: int) -> Any:  # noqa: ANN401
    """A curve per number, each in axes of its own, because their units differ."""
    from matplotlib.figure import Figure

    count = len(target.names)
    figure = Figure(figsize=(10, 1 + 1.1 * count), layout="constrained")
    all_axes: Any = figure.subplots(count, sharex=True, squeeze=False)[:, 0]
    for axes, name, column in zip(all_axes, target.names, values.T, strict=True):
        axes.plot(np.arange(len(column)) * step, column, linewidth=1)
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.yaxis.label.set_parse_math(False)
        axes.margins(x=0)
    all_axes[-1].set_xlabel("frame")
    figure.align_ylabels()
    return figure


def _plain(axes: Any) -> None:  # noqa: ANN401
    # Otherwise matplotlib would read text between dollar signs as a formula.
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
