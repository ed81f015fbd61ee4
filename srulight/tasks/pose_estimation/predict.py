"""The predict command of pose estimation: tables of key points, and pictures of them."""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srulight.runtime.errors import InputError, check_range
from srulight.runtime.progress import progress
from srulight.runtime.table_writing import TableFormat, format_of, table_writer, write_parquet
from srulight.tasks.pose_estimation.drawing import Pictures
from srulight.tasks.prediction import Predictor, write
from srulight.video.open_video import open_video

if TYPE_CHECKING:
    from srulight.tasks.pose_estimation.task import PoseEstimation


class PosePredictor(Predictor):
    """Finds the key points in videos and writes a table with a row per frame.

    The columns are "file" (the path of the video), "frame" (the index of the frame in the video,
    from 0), and for each key point NAME_x and NAME_y, in pixels of the video from the upper left
    corner of the frame, and NAME_score, 0 to 1, which is empty if the head of the model regresses
    coordinates. Videos are read frame by frame, so that long ones fit into memory.

    Args:
        batch_size: Number of frames that are read at a time.
        format: Format of the table to write; if None, that of --output by its file extension, or
            else "csv".
        plot: Folder to write pictures to: for each video, a few frames with the key points in them
            (.png), and the video with the key points (.mp4, or .gif if PyAV is not installed).
            Needs the packages of srulight[video].
    """

    inputs = "video files, folders with an image per frame, or NumPy files of frames (.npy, .npz)"

    def __init__(
        self,
        batch_size: int = 64,
        format: TableFormat | None = None,
        plot: str | None = None,
    ) -> None:
        check_range(1, batch_size=batch_size)
        self.batch_size = batch_size
        self.format = format
        self.pictures = None if plot is None else Pictures(Path(plot))

    def run(self, task: "PoseEstimation", inputs: list[str], output: str) -> None:
        form = self.format or format_of(output) or "csv"
        if form == "parquet" and output == "-":
            raise InputError("--format=parquet needs a file to write; pass --output=FILE")
        rows = self._rows(task, inputs)
        if form == "parquet":
            write_parquet(list(rows), Path(output))
        else:
            write(_lines(rows, form), output)

    def answers(self, task: "PoseEstimation", inputs: list[str]) -> Iterator[str]:
        return _lines(self._rows(task, inputs), self.format or "csv")

    def _rows(self, task: "PoseEstimation", inputs: list[str]) -> Iterator[dict[str, Any]]:
        if inputs == ["-"]:
            raise InputError("expected videos; pass --input with files or folders")
        metadata = task.check_trained()
        names, step = metadata["points"]["names"], metadata["frames"]["step"]
        # All of them are opened first, so that a wrong name is found before the work starts.
        videos = [open_video(Path(path)) for path in inputs]
        pairs = list(zip(inputs, videos, strict=True))
        for path, video in progress(pairs, "predicting", len(pairs), least=2):
            found = []
            frame = 0
            for points, scores in task.predict_frames(video, self.batch_size):
                places, sure = points.cpu().numpy(), scores.cpu().numpy()
                if self.pictures is not None:
                    found.append(places)
                for own, score in zip(places.tolist(), sure.tolist(), strict=True):
                    row: dict[str, Any] = {"file": path, "frame": frame}
                    for name, (x, y), value in zip(names, own, score, strict=True):
                        row[f"{name}_x"] = round(x, 2)
                        row[f"{name}_y"] = round(y, 2)
                        row[f"{name}_score"] = None if math.isnan(value) else round(value, 3)
                    yield row
                    frame += step
            if self.pictures is not None:
                frames = islice(video.frames(), 0, None, step)
                self.pictures.draw(path, frames, np.concatenate(found), names)


def _lines(rows: Iterable[dict[str, Any]], form: TableFormat) -> Iterator[str]:
    line = None
    for row in rows:
        header = ""
        if line is None:
            header, line = table_writer(form, list(row))
        yield header + line(row)
