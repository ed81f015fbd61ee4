"""Runs of train.py for benchmarks that compare trainings."""

import csv
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from srulight.runtime.devices import usable_cores

ROOT = Path(__file__).parents[1]
TRAIN = str(ROOT / "train.py")


class Run(NamedTuple):
    """A training run.

    Attributes:
        folder: Folder of the run, such as version_0.
        rows: Logged values of each validation, by name.
    """

    folder: Path
    rows: list[dict[str, str]]

    @property
    def best(self) -> Path:
        """Path of the best checkpoint."""
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def ends(self) -> list[float]:
        """Training time up to each validation, in seconds, without validation."""
        return [float(row["train/seconds"]) for row in self.rows]

    @property
    def seconds(self) -> float:
        """Median duration of a training epoch, in seconds."""
        ends = self.ends
        return statistics.median(e - b for e, b in zip(ends, [0.0, *ends], strict=False))

    def values(self, name: str) -> list[float]:
        """Returns a metric at each validation."""
        return [float(row[name]) for row in self.rows]


def newest(folder: Path, metric: str) -> Run:
    """Finds the newest run in a folder. ``metric`` is one that is logged at validations only."""
    log = max(folder.glob("version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    with log.open() as file:
        return Run(log.parent, [row for row in csv.DictReader(file) if row.get(metric)])


def threads_each(jobs: int) -> int:
    """Returns the number of threads for each of several parallel trainings."""
    return max(1, usable_cores() // jobs)


def fit(folder: Path, metric: str, *options: str, threads: int | None = None) -> Run:
    """Trains once in a folder. By default, uses as many threads as there are cores."""
    environment = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    subprocess.run(
        [
            sys.executable, TRAIN, "fit", f"--trainer.default_root_dir={folder}",
            "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", *options,
        ],
        check=True, env=os.environ | environment,
    )  # fmt: skip
    return newest(folder, metric)


def fit_for(
    minutes: float, folder: Path, metric: str, *options: str, threads: int | None = None
) -> Run:
    """Trains for as many epochs as fit into a time, which one measured epoch determines.

    If the folder already contains a finished run, it is not trained again.

    Args:
        minutes: Training time in minutes.
        folder: Folder for the runs.
        metric: Metric that is logged at validations only.
        *options: Options of ``train.py fit``. ``{steps}`` in an option stands for the total number
            of steps.
        threads: Number of threads. None means as many as there are cores.

    Returns:
        The finished run.
    """
    done = folder / "done"
    if not done.exists():
        first = fit(
            folder / "probe", metric, *(o for o in options if "{steps}" not in o),
            "--trainer.max_epochs=1", threads=threads,
        )  # fmt: skip
        epochs = max(1, round(60 * minutes / first.ends[0]))
        steps = str(epochs * (int(first.rows[0]["step"]) + 1))
        fit(
            folder, metric, *(option.replace("{steps}", steps) for option in options),
            f"--trainer.max_epochs={epochs}", threads=threads,
        )  # fmt: skip
        done.touch()
    return newest(folder, metric)


def side_by_side(names: Iterable[str], train: Callable[[str], Run], jobs: int) -> dict[str, Run]:
    """Trains each name with ``train``, ``jobs`` at a time."""
    names = list(names)
    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(names, pool.map(train, names), strict=True))


def measure(checkpoint: Path, *names: str, options: tuple[str, ...] = ()) -> list[float]:
    """Returns the test metrics of a checkpoint, such as ``wer`` for test/wer."""
    out = subprocess.run(
        [
            sys.executable, TRAIN, "test", f"--ckpt_path={checkpoint}",
            "--trainer.enable_progress_bar=false", *options,
        ],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = [re.search(rf"test/{name}\D+(\d+\.\d+)", out) for name in names]
    return [float(match[1]) if match else float("nan") for match in found]


def draw(curves: dict[str, list[tuple[float, float]]], path: Path, x: str, y: str) -> None:
    """Plots one line per name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), label=name)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def draw_progress(trained: dict[str, Run], metric: str, path: Path, y: str) -> None:
    """Plots a metric over the training time."""
    curves = {
        name: [(t / 60, v) for t, v in zip(run.ends, run.values(metric), strict=True)]
        for name, run in trained.items()
    }
    draw(curves, path, "training time (minutes)", y)
