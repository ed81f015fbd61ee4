"""Your own videos with key points: a table with a row per clip, and tables of key points."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srulight.data.columns import Column, TableFile
from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.tasks.pose_estimation.corpora.deep_lab_cut import paired
from srulight.tasks.pose_estimation.corpora.point_tables import check_inside, point_names
from srulight.video.clip_parts import PARTS, PartTables, hold_out_clips
from srulight.video.corpus import Clip, VideoCorpus, Videos, no_targets
from srulight.video.tables import (
    ClipColumns,
    ClipTable,
    FrameTable,
    OpenClip,
    read_frames,
)


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
        part_values: tuple[str, str, str] = PARTS,
        points: list[str] | None = None,
        pairs: list[list[str]] | None = None,
        file: str = "file",
        first_frame: str = "first_frame",
        last_frame: str = "last_frame",
        labels: str = "labels",
        frame: str = "frame",
        array: str | None = None,
    ) -> None:
        self.tables = PartTables(train, val, test, part, part_values)
        self.points = points
        self.pairs = pairs or []
        self.file = file
        self.first_frame = first_frame
        self.last_frame = last_frame
        self.labels = labels
        self.frame = frame
        self.array = array
        if points is not None and (not points or len({*points}) < len(points)):
            raise InputError(f"points must be different names, got {points}")

    def read(self, root: Path) -> Videos:
        others = {self.labels: Column("text", "correct --data.corpus.labels")}
        columns = ClipColumns(self.file, self.first_frame, self.last_frame, others)
        clips = self.tables.read(root, columns, self.array)
        reader = _Reader(self.labels, self.frame, self.points)
        parts = {
            name: [reader.clip(table, clip) for table, clip in part] for name, part in clips.items()
        }
        reader.faults.refuse()
        if not parts.get("val"):
            parts["train"], parts["val"] = hold_out_clips(parts["train"], True)
        names = reader.names or []
        return Videos(
            parts["train"],
            parts["val"],
            parts.get("test") or None,
            names,
            pairs=paired(self.pairs, names),
        )


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
        path = table.named_table(self._labels, clip.row)
        if path not in self._read:
            self._read[path] = None
            remedy = f"correct it in {clip.row.place}"
            if self.names is None:
                self.names = point_names(TableFile(path, remedy))
            absent = Column("number", "rename the column, or set --data.corpus.points")
            columns = dict.fromkeys((f"{n}_{axis}" for n in self.names for axis in "xy"), absent)
            self._read[path] = read_frames(path, self._frame, columns, remedy)
        return self._read[path]
