"""The parts of a corpus whose clips are in tables: a table per part, or a column of parts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from srulight.data.columns import Column
from srulight.data.hold_out import hold_out
from srulight.runtime.errors import InputError, listed
from srulight.runtime.faults import Faults
from srulight.video.corpus import Clip
from srulight.video.tables import (
    ClipColumns,
    ClipRow,
    ClipTable,
    OpenClip,
    open_clips,
    read_clips,
)

PARTS = ("train", "val", "test")


class PartTables:
    """Tables with a row per clip: one per part, or one with a column that names the parts.

    Args:
        train: Name of the table of the training clips; or of all clips, if there is a column.
        val: Name of the table of the validation clips, if there is one.
        test: Name of the table of the test clips, if there is one.
        part: Column that says which part a clip belongs to; None if there is a table per part.
        values: What this column contains for training, validation and test clips.

    Raises:
        InputError: If there are both a column and several tables, or the values are not different.
    """

    def __init__(
        self,
        train: str,
        val: str | None,
        test: str | None,
        part: str | None,
        values: tuple[str, str, str],
    ) -> None:
        self.train = train
        self.files = {"train": train, "val": val, "test": test}
        self.part = part
        self.values = values
        if part is not None and (val is not None or test is not None):
            raise InputError(
                "val and test must be unset if a column names the part of each clip "
                f"(part={part!r}), got {val!r} and {test!r}; unset part, or put all clips into one "
                "table"
            )
        if len({*values}) < len(values):
            raise InputError(f"part_values must be three different values, got {values}")

    def read(
        self, root: Path, columns: ClipColumns, array: str | None
    ) -> dict[str, list[tuple[ClipTable, OpenClip]]]:
        """Reads the tables, and opens the videos.

        Args:
            root: Folder of the tables.
            columns: Names of the columns, without that of the parts.
            array: Name of the array in ``.npz`` files, as for ``open_clips``.

        Returns:
            The clips of each part that the tables name, each with its table; "train" always.

        Raises:
            InputError: If a table cannot be read, a video cannot be opened, or there are no
                training clips.
        """
        if self.part is not None:
            part = {self.part: Column("text", "correct --data.corpus.part")}
            columns = columns._replace(others=part | dict(columns.others))
        rows = {}
        for name, file in self.files.items():
            if file is not None:
                table = read_clips(root / file, columns)
                rows[name] = [(table, row) for row in table.rows]
        if self.part is not None:
            rows = self._divided(rows["train"], self.part)
        every = [row for part_rows in rows.values() for _, row in part_rows]
        opened = iter(open_clips(every, array))
        return {name: [(table, next(opened)) for table, _ in part] for name, part in rows.items()}

    def _divided(
        self, rows: Sequence[tuple[ClipTable, ClipRow]], column: str
    ) -> dict[str, list[tuple[ClipTable, ClipRow]]]:
        """Returns the rows of each part, as the column of the parts says."""
        parts = dict(zip(self.values, PARTS, strict=True))
        faults = Faults()
        found: dict[str, list[tuple[ClipTable, ClipRow]]] = {"train": []}
        for table, row in rows:
            value = table.text(column, row)
            if value in parts:
                found.setdefault(parts[value], []).append((table, row))
            else:
                faults.add(
                    f"{row.place}: expected {listed([*parts])} in column {column!r}, got "
                    f"{value!r}; correct it, or set --data.corpus.part_values"
                )
        faults.refuse()
        if not found["train"]:
            raise InputError(
                f"{self.train}: expected training clips ({self.values[0]!r} in column "
                f"{column!r}), got none; set --data.corpus.part_values"
            )
        return found


def hold_out_clips(clips: list[Clip], per_frame: bool) -> tuple[list[Clip], list[Clip]]:
    """Holds out a tenth of the clips, or the last tenth of the frames of the only one.

    Args:
        clips: The clips.
        per_frame: Whether each frame has a target; otherwise a clip cannot be divided.

    Returns:
        The training clips, and the validation clips.
    """
    if len(clips) != 1 or not per_frame or clips[0].length < 2:
        return hold_out(clips)
    (clip,) = clips
    count = max(1, clip.length // 10)
    rest = clip.length - count
    return (
        [replace(clip, length=rest, targets=clip.targets[:rest])],
        [replace(clip, first=clip.first + rest, length=count, targets=clip.targets[rest:])],
    )
