"""Your own videos with key points: a table with a row per clip, and tables of key points."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from srulight.data.columns import Column, TableFile
from srulight.data.hold_out import hold_out
from srulight.runtime.errors import InputError, listed
from srulight.runtime.faults import Faults
from srulight.tasks.pose_estimation.corpora.deep_lab_cut import paired
from srulight.tasks.pose_estimation.corpora.point_tables import check_inside, point_names
from srulight.video.corpus import Clip, VideoCorpus, Videos, no_targets
from srulight.video.tables import (
    ClipColumns,
    ClipRow,
    ClipTable,
    FrameTable,
    OpenClip,
    open_clips,
    read_clips,
    read_frames,
)

_PARTS = ("train", "val", "test")


class KeyPointTables(VideoCorpus):
    """Your own data: a table with a row per clip, which names tables of key points.

    The column ``file`` names a video file, a folder of images, an image, or an array of frames
    (``.npy``, ``.npz``), relative to the folder of the table. A clip is the whole video, or the
    frames from ``first_frame`` to ``last_frame`` if the table has these columns. Frames are counted
    from 0, and the last frame belongs to the clip. A ``.csv`` or ``.tsv`` table is encoded in UTF-8
    and names its columns in the first row; a ``.jsonl`` table has a JSON object per line. A
    ``.parquet`` table requires pyarrow.

    The column ``labels`` names another table, relative to the folder of the first one. It has the
    column ``frame`` with the index of the frame in its video, and for each key point the columns
    NAME_x and NAME_y, in pixels of the video from the upper left corner of the frame. Its rows are
    in the order of the frames. A point is missing where a cell is empty, and all points of a frame
    are missing if it has no row; they count neither in the loss nor in the metrics. The table that
    ``predict`` writes has this form.

    Args:
        train: Name of the table of the training clips in ``root``; or of all clips, if there is a
            column ``part``.
        val: Name of the table of the validation clips. If neither a table nor the column ``part``
            names validation clips, a fixed tenth of the training clips is held out; of a single
            clip, its last tenth.
        test: Name of the table of the test clips; if None, and no column names test clips, the
            corpus has no test set.
        part: Column that says which part a clip belongs to; None if there is a table per part.
        part_values: What this column contains for training, validation and test clips.
        points: Names of the key points to read; if None, those of the table of the first clip.
        pairs: Pairs of names that a mirror image exchanges, such as [[leftear, rightear]].
        file: Column of the videos.
        first_frame: Column of the first frame of each clip, if the table has it.
        last_frame: Column of the last frame of each clip, if the table has it.
        labels: Column of the tables of key points.
        frame: Column of the indices of frames in these tables.
        array: Name of the array in ``.npz`` files; if None, the only one that can be a video.
    """

    kind = "points"

    def __init__(
        self,
        train: str = "clips.csv",
        val: str | None = None,
        test: str | None = None,
        part: str | None = None,
        part_values: tuple[str, str, str] = _PARTS,
        points: list[str] | None = None,
        pairs: list[list[str]] | None = None,
        file: str = "file",
        first_frame: str = "first_frame",
        last_frame: str = "last_frame",
        labels: str = "labels",
        frame: str = "frame",
        array: str | None = None,
    ) -> None:
        self.files = {"train": train, "val": val, "test": test}
        self.part = part
        self.part_values = part_values
        self.points = points
        self.pairs = pairs or []
        self.file = file
        self.first_frame = first_frame
        self.last_frame = last_frame
        self.labels = labels
        self.frame = frame
        self.array = array
        if part is not None and (val is not None or test is not None):
            raise InputError(
                "val and test must be unset if a column names the part of each clip "
                f"(part={part!r}), got {val!r} and {test!r}; unset part, or put all clips into one "
                "table"
            )
        if len({*part_values}) < len(part_values):
            raise InputError(f"part_values must be three different values, got {part_values}")
        if points is not None and (not points or len({*points}) < len(points)):
            raise InputError(f"points must be different names, got {points}")

    def read(self, root: Path) -> Videos:
        others = {self.labels: Column("text", "correct --data.corpus.labels")}
        if self.part is not None:
            others[self.part] = Column("text", "correct --data.corpus.part")
        columns = ClipColumns(self.file, self.first_frame, self.last_frame, others)
        rows: dict[str, list[tuple[ClipTable, ClipRow]]] = {}
        for name, file in self.files.items():
            if file is not None:
                table = read_clips(root / file, columns)
                rows[name] = [(table, row) for row in table.rows]
        if self.part is not None:
            rows = self._divided(rows["train"])
        every = [row for part in rows.values() for _, row in part]
        opened = iter(open_clips(every, self.array))
        reader = _Reader(self.labels, self.frame, self.points)
        parts = {
            name: [reader.clip(table, next(opened)) for table, _ in part]
            for name, part in rows.items()
        }
        reader.faults.refuse()
        if not parts.get("val"):
            parts["train"], parts["val"] = _held_out(parts["train"])
        names = reader.names or []
        return Videos(
            parts["train"],
            parts["val"],
            parts.get("test") or None,
            names,
            pairs=paired(self.pairs, names),
        )

    def _divided(
        self, rows: Sequence[tuple[ClipTable, ClipRow]]
    ) -> dict[str, list[tuple[ClipTable, ClipRow]]]:
        """Returns the rows of each part, as the column of the parts says."""
        assert self.part is not None
        parts = dict(zip(self.part_values, _PARTS, strict=True))
        faults = Faults()
        found: dict[str, list[tuple[ClipTable, ClipRow]]] = {"train": []}
        for table, row in rows:
            value = _text(table, self.part, row)
            if value in parts:
                found.setdefault(parts[value], []).append((table, row))
            else:
                faults.add(
                    f"{row.place}: expected {listed([*parts])} in column {self.part!r}, got "
                    f"{value!r}; correct it, or set --data.corpus.part_values"
                )
        faults.refuse()
        if not found["train"]:
            raise InputError(
                f"{self.files['train']}: expected training clips ({self.part_values[0]!r} in "
                f"column {self.part!r}), got none; set --data.corpus.part_values"
            )
        return found


class _Reader:
    """Reads the key points of clips, several of which may share a table.

    Args:
        labels: Column of the tables of key points.
        frame: Column of the indices of frames.
        names: Names of the key points; if None, those of the first table.

    Attributes:
        names: Names of the key points; None until they are known.
        faults: The errors so far.
    """

    def __init__(self, labels: str, frame: str, names: Sequence[str] | None) -> None:
        self.names = None if names is None else list(names)
        self.faults = Faults()
        self._labels = labels
        self._frame = frame
        self._read: dict[Path, FrameTable | None] = {}

    def clip(self, table: ClipTable, clip: OpenClip) -> Clip:
        """Returns a clip with its key points; after an error, they are all missing.

        Args:
            table: The table of the clip.
            clip: The clip.
        """
        targets = no_targets("points", (clip.length, len(self.names or []), 2))
        try:
            found = self._table(table, clip)
            if found is not None:
                rows, places = found.rows(clip)
                names = self.names or []
                columns = [f"{name}_{axis}" for name in names for axis in "xy"]
                numbers = [found.columns.numbers[column][rows] for column in columns]
                points = np.stack(numbers, 1).reshape(len(rows), -1, 2)
                targets = no_targets("points", (clip.length, len(names), 2))
                targets[places] = points
                check_inside(
                    points, clip.video, names, lambda row: found.place(int(rows[row])), self.faults
                )
        except InputError as error:
            self.faults.add(error)
        return Clip(clip.row.name, clip.video, clip.row.first, clip.length, targets)

    def _table(self, table: ClipTable, clip: OpenClip) -> FrameTable | None:
        """Returns the table of a clip; None if it has errors that have been reported."""
        file = _text(table, self._labels, clip.row)
        if not file or "\0" in file:
            raise InputError(
                f"{clip.row.place}: expected a table in column {self._labels!r}, got {file!r}; "
                "fill it in, or delete the row"
            )
        path = table.path.parent / file
        if path not in self._read:
            self._read[path] = None
            remedy = f"correct it in {clip.row.place}"
            if self.names is None:
                self.names = point_names(TableFile(path, remedy))
            absent = Column("number", "rename the column, or set --data.corpus.points")
            columns = dict.fromkeys((f"{n}_{axis}" for n in self.names for axis in "xy"), absent)
            self._read[path] = read_frames(path, self._frame, columns, remedy)
        return self._read[path]


def _text(table: ClipTable, column: str, row: ClipRow) -> str:
    texts = table.columns.texts[column]
    return texts.values[texts.codes[row.row]].strip()


def _held_out(clips: list[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Holds out a tenth of the clips, or the last tenth of the frames of the only one."""
    if len(clips) != 1 or clips[0].length < 2:
        return hold_out(clips)
    (clip,) = clips
    count = max(1, clip.length // 10)
    rest = clip.length - count
    return (
        [replace(clip, length=rest, targets=clip.targets[:rest])],
        [replace(clip, first=clip.first + rest, length=count, targets=clip.targets[rest:])],
    )
