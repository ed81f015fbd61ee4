"""Tables with a row per clip, and tables with a row per frame."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.data.columns import Column, Columns, TableFile
from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.video.open_video import open_videos
from srulight.video.sources import VideoSource

REMEDY = "set --data.root to its folder, or correct the file name in --data.corpus"
"""What to do about a missing table, as the last clause of the error message."""


class ClipColumns(NamedTuple):
    """Names of the columns of a table with a row per clip.

    Attributes:
        file: Column of the videos, relative to the folder of the table.
        first: Column of the first frames; used if the table has it, and the cell is not empty.
        last: Column of the last frames; as ``first``.
        others: Further columns, and how to read them.
    """

    file: str
    first: str
    last: str
    others: Mapping[str, Column]


class ClipRow(NamedTuple):
    """A row of a table with a row per clip.

    Attributes:
        row: Index of the row in the table.
        place: Place of the row for messages.
        name: Name of the clip: the name of the file as in the table, and the frames if there are.
        path: Path of the video.
        first: Index of the first frame, from 0.
        last: Index of the last frame; None for that of the video.
    """

    row: int
    place: str
    name: str
    path: Path
    first: int
    last: int | None


class ClipTable(NamedTuple):
    """A table with a row per clip.

    Attributes:
        path: Path of the table.
        rows: Its rows.
        columns: Its columns.
    """

    path: Path
    rows: list[ClipRow]
    columns: Columns

    def text(self, column: str, row: ClipRow) -> str:
        """Returns the text in a cell of a column of texts."""
        texts = self.columns.texts[column]
        return texts.values[texts.codes[row.row]].strip()

    def named_table(self, column: str, row: ClipRow) -> Path:
        """Returns the path of the table that a cell names, relative to the folder of this one.

        Raises:
            InputError: If the cell does not name a file.
        """
        file = self.text(column, row)
        if not file or "\0" in file:
            raise InputError(
                f"{row.place}: expected a table in column {column!r}, got {file!r}; fill it in, or "
                "delete the row"
            )
        return self.path.parent / file


class OpenClip(NamedTuple):
    """A clip of a table.

    Attributes:
        row: The row of the table.
        video: The video.
        length: Number of frames of the clip.
    """

    row: ClipRow
    video: VideoSource
    length: int


def read_clips(path: Path, names: ClipColumns) -> ClipTable:
    """Reads a table with a row per clip, without opening the videos.

    Args:
        path: Path of the table, as ``table_rows`` takes it.
        names: Names of the columns.

    Raises:
        InputError: If the file is missing, or rows are not as expected.
    """
    table = TableFile(path, REMEDY)
    wanted = {names.file: Column("text", "correct --data.corpus.file"), **names.others}
    bounds = [name for name in (names.first, names.last) if name in table.first]
    wanted |= dict.fromkeys(bounds, Column("number", ""))
    columns = table.read(wanted)
    faults = Faults()
    rows = []
    files = columns.texts[names.file]
    for row, code in enumerate(files.codes.tolist()):
        place = columns.place(row)
        file = files.values[code].strip()
        try:
            if not file or "\0" in file:
                raise InputError(
                    f"{place}: expected a video in column {names.file!r}, got {file!r}; fill it "
                    "in, or delete the row"
                )
            first = _frame(columns, names.first, row, bounds)
            last = _frame(columns, names.last, row, bounds)
            if last is not None and last < (first or 0):
                raise InputError(
                    f"{place}: expected a last frame from {first or 0} on in column "
                    f"{names.last!r}, got {last}; correct the row"
                )
        except InputError as error:
            faults.add(error)
            continue
        name = file if first is None and last is None else f"{file}:{first or 0}-{_shown(last)}"
        rows.append(ClipRow(row, place, name, path.parent / file, first or 0, last))
    faults.refuse()
    return ClipTable(path, rows, columns)


def _shown(last: int | None) -> str:
    return "" if last is None else str(last)


def _frame(columns: Columns, name: str, row: int, there: Sequence[str]) -> int | None:
    """Returns the index of a frame in a cell; None if there is no such column, or it is empty."""
    if name not in there or np.isnan(columns.numbers[name][row]):
        return None
    number = float(columns.numbers[name][row])
    if number % 1 or number < 0:
        raise InputError(
            f"{columns.place(row)}: expected the index of a frame, from 0, in column {name!r}, got "
            f"{number:g}; correct it, or leave the cell empty"
        )
    return int(number)


def open_clips(rows: Sequence[ClipRow], array: str | None = None) -> list[OpenClip]:
    """Opens the videos of clips.

    Args:
        rows: The rows of the clips.
        array: Name of the array in ``.npz`` files.

    Raises:
        InputError: If a video cannot be opened, or ends before a clip.
    """
    videos = open_videos([row.path for row in rows], array)
    faults = Faults()
    clips = []
    for row in rows:
        video = videos[row.path]
        if isinstance(video, InputError):
            faults.add(f"{row.place}: {video}")
            continue
        last = video.length - 1 if row.last is None else row.last
        if max(row.first, last) >= video.length:
            faults.add(
                f"{row.place}: expected frames from 0 to {video.length - 1:,} of {video.name}, got "
                f"{max(row.first, last):,}; correct the row"
            )
            continue
        clips.append(OpenClip(row, video, last - row.first + 1))
    faults.refuse()
    return clips


class FrameTable(NamedTuple):
    """A table with a row per frame.

    Attributes:
        frames: Index of the frame of each row, (R,) int64, increasing.
        columns: Its columns.
        place: Returns the place of a row for messages.
    """

    frames: NDArray[np.int64]
    columns: Columns
    place: Callable[[int], str]

    def rows(self, clip: OpenClip) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the rows of the frames of a clip, and those frames counted from its first one.

        Args:
            clip: The clip.

        Raises:
            InputError: If a row names a frame after the end of the video.
        """
        if len(self.frames) and self.frames[-1] >= clip.video.length:
            row = int(np.searchsorted(self.frames, clip.video.length))
            raise InputError(
                f"{self.place(row)}: expected frames from 0 to {clip.video.length - 1:,} of "
                f"{clip.video.name}, got {self.frames[row]:,}; correct the row"
            )
        first = clip.row.first
        rows = np.flatnonzero((self.frames >= first) & (self.frames < first + clip.length))
        return rows, self.frames[rows] - first


def read_frames(path: Path, frame: str, others: Mapping[str, Column], remedy: str) -> FrameTable:
    """Reads a table with a row per frame.

    Args:
        path: Path of the table, as ``table_rows`` takes it.
        frame: Column of the indices of the frames, from 0, in increasing order.
        others: Further columns, and how to read them.
        remedy: What to do if the file is missing, as the last clause of the error message.

    Raises:
        InputError: If the file is missing, or rows are not as expected; among others, if a frame is
            repeated, or not in the order.
    """
    wanted = {frame: Column("number", "correct --data.corpus.frame"), **others}
    columns = TableFile(path, remedy).read(wanted)
    numbers = columns.numbers[frame]
    # Written so that NaN is wrong, too.
    wrong = ~((numbers >= 0) & (numbers % 1 == 0))
    before = np.concatenate(([-1], numbers[:-1]))
    faults = Faults()
    for row in np.flatnonzero(wrong | (numbers <= before)).tolist():
        got = "none" if np.isnan(numbers[row]) else f"{numbers[row]:g}"
        after = f" after {before[row]:g}" if row and not wrong[row] else ""
        faults.add(
            f"{columns.place(row)}: expected the index of a frame, from 0,{after} in column "
            f"{frame!r}, got {got}; sort the rows by frame, and remove repeated ones"
        )
    faults.refuse()
    return FrameTable(numbers.astype(np.int64), columns, columns.place)
