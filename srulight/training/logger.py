"""The log of a run: a table of metrics that a resumed run continues."""

import csv
import shutil
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError

FILE = "metrics.csv"

# Each save writes the whole table. This is the largest share of time to spend on saving.
_SHARE = 0.02


class Table:
    """A table of numbers, kept in memory and in a CSV file that is never half written.

    Args:
        path: Path of the file. If it exists, the first ``keep`` rows are read; the next save drops
            all others.
        keep: Number of rows to keep from an existing file.
        aside: Path to which a file with more rows is copied first; None for no copy.
    """

    def __init__(self, path: Path, keep: int = 0, aside: Path | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            self.rows = [{k: v for k, v in row.items() if v} for row in rows[:keep]]
            if aside is not None and len(rows) > keep:
                shutil.copy(path, aside)
        self._written = -1  # number of rows in the file
        self._next = 0.0  # earliest time of the next save

    def log_metrics(self, metrics: dict[str, Any], step: int) -> None:
        """Adds a row.

        Args:
            metrics: Numbers by name.
            step: Number of optimizer steps before the row.
        """
        row = {k: v.item() if isinstance(v, Tensor) else v for k, v in metrics.items()}
        self.rows.append(row | {"step": step})

    def save(self, now: bool = True) -> None:
        """Writes the file if there are new rows.

        Args:
            now: Whether to write the file at once. Otherwise, it is written only if the last save
                was long enough ago.
        """
        start = time.monotonic()
        if self._written == len(self.rows) or not (now or start >= self._next):
            return
        columns = sorted(set().union(*self.rows))
        with written(self.path) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        self._written = len(self.rows)
        end = time.monotonic()
        self._next = end + max(1.0, (end - start) / _SHARE)


class Log(CSVLogger):
    """Lightning's CSV logger, writing to a ``Table``.

    Args:
        root: Folder of all runs.
        version: Name of the folder of this run. None creates the next free ``version_N`` when the
            folder is first needed.
        keep: Number of rows to keep from the log of a resumed run.
        aside: Name of the file to which a longer log is copied first; None for no copy.
    """

    def __init__(
        self,
        root: str | Path,
        version: str | None = None,
        keep: int = 0,
        aside: str | None = None,
    ) -> None:
        super().__init__(root, name="", version=version)
        self._folder: int | str | None = version
        self._keep = keep
        self._aside = aside
        self._table: Table | None = None
        self._made: Path | None = None  # the folder, if this process created it

    @property
    def version(self) -> int | str:
        """The name of the folder, or its number; creating the folder reserves a new number."""
        if self._folder is None:
            # The first process tells the others where it writes.
            first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
            self._folder = self._claim() if first else super().version
        return self._folder

    def _claim(self) -> int:
        try:
            number = int(super().version)  # another process may still take this number
            while True:
                folder = Path(self.root_dir, f"version_{number}")
                try:
                    folder.mkdir(parents=True)
                except FileExistsError:
                    number += 1
                else:
                    self._made = folder
                    return number
        except OSError as error:
            raise InputError(
                f"cannot create a folder for this run in {self.root_dir} ({error.strerror}); set "
                "--trainer.default_root_dir=FOLDER to a writable folder"
            ) from error

    def discard(self) -> None:
        """Removes the folder if this run created it and wrote no metrics and no checkpoints."""
        if self._made is None or (self._table is not None and self._table.rows):
            return
        if not any(self._made.rglob("*.ckpt")):
            shutil.rmtree(self._made, ignore_errors=True)

    @property
    def table(self) -> Table:
        """The table; only the first process has one."""
        if self._table is None:
            folder = Path(self.log_dir)
            aside = None if self._aside is None else folder / self._aside
            self._table = Table(folder / FILE, self._keep, aside)
        return self._table

    @property
    def experiment(self) -> Any:  # noqa: ANN401
        """The table, under the name that Lightning uses."""
        return self.table

    @rank_zero_only
    def log_hyperparams(self, *_: object) -> None:
        """Does nothing, because the whole configuration is saved beside the log."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self.table.log_metrics(metrics, len(self.table.rows) if step is None else step)

    @rank_zero_only
    def save(self) -> None:
        self.table.save(now=False)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._table is not None:
            self._table.save()
