"""Your own videos: a table with a row per clip."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srulight.data.columns import Column
from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.targets import Kind
from srulight.targets.columns import TargetColumns, TargetRows
from srulight.video.clip_parts import PARTS, PartTables, hold_out_clips
from srulight.video.corpus import Clip, Per, VideoCorpus, Videos, no_targets
from srulight.video.tables import (
    ClipColumns,
    ClipTable,
    FrameTable,
    OpenClip,
    read_frames,
)


class VideoTables(VideoCorpus):
    """Your own data: a table with a row per clip, whose columns are chosen by their names.

    The column ``file`` names a video file, a folder of images, an image, or an array of frames
    (``.npy``, ``.npz``), relative to the folder of the table. A clip is the whole video, or the
    frames from ``first_frame`` to ``last_frame`` if the table has these columns. Frames are counted
    from 0, and the last frame belongs to the clip. A ``.csv`` or ``.tsv`` table is encoded in UTF-8
    and names its columns in the first row; a ``.jsonl`` table has a JSON object per line. A
    ``.parquet`` table requires pyarrow.

    If each clip has a target, the target columns are in the same table. If each frame has one, the
    column ``labels`` names another table, relative to the folder of the first one, which has the
    target columns, and the column ``frame`` with the index of the frame in its video. Its rows are
    in the order of the frames; frames without a row have no target.

    A number is missing where the cell is empty, or contains NaN, NA, N/A, null or None. A class is
    missing where the cell is blank or contains NaN. Targets that are missing count neither in the
    loss nor in the metrics. The classes are those of the training clips, in alphabetical order, or
    in numerical order if all are integers.

    Args:
        train: Name of the table of the training clips in ``root``; or of all clips, if there is a
            column ``part``.
        val: Name of the table of the validation clips. If neither a table nor the column ``part``
            names validation clips, a fixed tenth of the training clips is held out; if there is
            only one clip with targets at its frames, its last tenth.
        test: Name of the table of the test clips; if None, and no column names test clips, the
            corpus has no test set.
        part: Column that says which part a clip belongs to; None if there is a table per part.
        part_values: What this column contains for training, validation and test clips.
        targets: Column of the targets, or a list of several columns. Several labels are either
            names in one column, separated by semicolons, or a list of columns that contain 0 or 1.
        kind: Kind of the targets.
        per: Whether each clip has a target, or each of its frames.
        file: Column of the videos.
        first_frame: Column of the first frame of each clip, if the table has it.
        last_frame: Column of the last frame of each clip, if the table has it.
        labels: Column of the tables with a row per frame.
        frame: Column of the indices of frames in these tables.
        array: Name of the array in ``.npz`` files; if None, the only one that can be a video.
    """

    def __init__(
        self,
        train: str = "clips.csv",
        val: str | None = None,
        test: str | None = None,
        part: str | None = None,
        part_values: tuple[str, str, str] = PARTS,
        targets: list[str] | str = "class",
        kind: Kind = "class",
        per: Per = "clip",
        file: str = "file",
        first_frame: str = "first_frame",
        last_frame: str = "last_frame",
        labels: str = "labels",
        frame: str = "frame",
        array: str | None = None,
    ) -> None:
        self.tables = PartTables(train, val, test, part, part_values)
        self.kind = kind
        self.per = per
        self.file = file
        self.first_frame = first_frame
        self.last_frame = last_frame
        self.labels = labels
        self.frame = frame
        self.array = array
        self._targets = TargetColumns(targets, kind)

    def read(self, root: Path) -> Videos:
        clips = self.tables.read(root, self._columns(), self.array)
        read = self._per_clip if self.per == "clip" else self._per_frame
        parts, names = read(clips, str(root / self.tables.train))
        if not parts.get("val"):
            parts["train"], parts["val"] = hold_out_clips(parts["train"], self.per == "frame")
        return Videos(
            parts["train"],
            parts["val"],
            parts.get("test") or None,
            names=names,
            columns=self._targets.columns,
        )

    def _columns(self) -> ClipColumns:
        remedy = "correct --data.corpus.labels, or set --data.corpus.per=clip"
        per_frame = {self.labels: Column("text", remedy)}
        others = self._targets.wanted if self.per == "clip" else per_frame
        return ClipColumns(self.file, self.first_frame, self.last_frame, others)

    def _per_clip(
        self, clips: Mapping[str, list[tuple[ClipTable, OpenClip]]], where: str
    ) -> tuple[dict[str, list[Clip]], list[str]]:
        """Returns the clips of each part with a target each, and the names of the targets."""
        read = {}
        for name, part in clips.items():
            rows = np.array([clip.row.row for _, clip in part], dtype=np.int64)
            if part:
                read[name] = TargetRows(self._targets, part[0][0].columns, rows)
        names = self._names([read["train"]], where)
        parts: dict[str, list[Clip]] = {}
        for name, part in clips.items():
            parts[name] = []
            if part:
                targets = read[name].encoded(names)
                parts[name] = [_clip(clip, targets[i]) for i, (_, clip) in enumerate(part)]
        return parts, names

    def _per_frame(
        self, clips: Mapping[str, list[tuple[ClipTable, OpenClip]]], where: str
    ) -> tuple[dict[str, list[Clip]], list[str]]:
        """Returns the clips of each part with targets of frames, and the names of the targets."""
        tables: dict[Path, FrameTable | InputError] = {}
        faults = Faults()
        read: dict[str, list[tuple[OpenClip, TargetRows, NDArray[np.int64]]]] = {}
        for name, part in clips.items():
            read[name] = []
            for table, clip in part:
                try:
                    frames = self._frame_table(table, clip, tables)
                    rows, places = frames.rows(clip)
                except InputError as error:
                    faults.add(error)
                    continue
                targets = TargetRows(self._targets, frames.columns, rows)
                read[name].append((clip, targets, places))
        faults.refuse()
        names = self._names([targets for _, targets, _ in read["train"]], where)
        parts: dict[str, list[Clip]] = {}
        for name, found in read.items():
            parts[name] = []
            for clip, targets, places in found:
                shape = (clip.length,) if self.kind == "class" else (clip.length, len(names))
                full = no_targets(self.kind, shape)
                full[places] = targets.encoded(names)
                parts[name].append(_clip(clip, full))
        return parts, names

    def _frame_table(
        self, table: ClipTable, clip: OpenClip, read: dict[Path, FrameTable | InputError]
    ) -> FrameTable:
        """Returns the table of the frames of a clip, which several clips may share."""
        path = table.named_table(self.labels, clip.row)
        if path not in read:
            remedy = f"correct it in {clip.row.place}"
            try:
                read[path] = read_frames(path, self.frame, self._targets.wanted, remedy)
            except InputError as error:
                read[path] = error
        found = read[path]
        if isinstance(found, InputError):
            raise found
        return found

    def _names(self, targets: Sequence[TargetRows], where: str) -> list[str]:
        if not self._targets.has_names:
            return self._targets.columns
        return self._targets.names([(one.texts, one.place) for one in targets], where)


def _clip(clip: OpenClip, targets: NDArray[Any]) -> Clip:
    return Clip(clip.row.name, clip.video, clip.row.first, clip.length, np.asarray(targets))
