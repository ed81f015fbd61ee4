"""The log of a run: a table that goes on where a resumed run does."""

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

# A table is written as a whole; this part of the time may go into that.
_SHARE = 0.02


class Table:
    """Rows of numbers, kept in memory, and in a file that is always whole.

    Args:
        path: The file. What it holds beyond ``keep`` rows goes when it is next written.
        keep: Rows to go on from, of those that the file has.
        aside: Where the file is copied to if it has more rows; nowhere if None.
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
        self._written = -1  # rows in the file
        self._next = 0.0  # when it may be written again

    def log_metrics(self, metrics: dict[str, Any], step: int) -> None:
        """Adds a row.

        Args:
            metrics: Numbers by name.
            step: Steps of the optimiser before it.
        """
        row = {k: v.item() if isinstance(v, Tensor) else v for k, v in metrics.items()}
        self.rows.append(row | {"step": step})

    def save(self, now: bool = True) -> None:
        """Writes the file if there are new rows.

        Args:
            now: Whether to write it at once; otherwise when it is time again.
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
    """Lightning's CSV logger over a ``Table``.

    Args:
        root: Folder of the runs.
        version: Folder of this run; the next ``version_N`` that is free if None, which is made when
            it is first asked for.
        keep: Rows to go on from, of a run that is resumed.
        aside: Name of the file that a longer log is kept in; it is not kept if None.
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
        self._made: Path | None = None  # the folder, by this process

    @property
    def version(self) -> int | str:
        """The folder's name, or its number, which is nobody else's: the folder is made with it."""
        if self._folder is None:
            # Other processes are told where the first one writes.
            first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
            self._folder = self._claim() if first else super().version
        return self._folder

    def _claim(self) -> int:
        try:
            number = int(super().version)  # the next that is free, for now
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
                f"runs are kept in {self.root_dir}, which cannot be written ({error.strerror}): "
                "name another folder with --trainer.default_root_dir"
            ) from error

    def discard(self) -> None:
        """Removes the folder if it was made for this run, and the run left nothing in it."""
        if self._made is None or (self._table is not None and self._table.rows):
            return
        if not any(self._made.rglob("*.ckpt")):
            shutil.rmtree(self._made, ignore_errors=True)

    @property
    def table(self) -> Table:
        """The rows; of the first process alone."""
        if self._table is None:
            folder = Path(self.log_dir)
            aside = None if self._aside is None else folder / self._aside
            self._table = Table(folder / FILE, self._keep, aside)
        return self._table

    @property
    def experiment(self) -> Any:  # noqa: ANN401
        """The table: where Lightning asks for what it writes to."""
        return self.table

    @rank_zero_only
    def log_hyperparams(self, *_: object) -> None:
        """Does nothing: the whole configuration lies beside the log."""

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
