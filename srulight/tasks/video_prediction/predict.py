"""The predict command of video prediction: tables of answers, and pictures of them over time."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srulight.runtime.errors import InputError, check_range
from srulight.runtime.progress import progress
from srulight.runtime.table_writing import TableFormat, table_writer, write_parquet
from srulight.tasks.prediction import Predictor, write
from srulight.tasks.target_prediction import answer_cells, table_format
from srulight.tasks.video_prediction.plot import Pictures
from srulight.video.open_video import open_video

if TYPE_CHECKING:
    from srulight.tasks.video_prediction.task import VideoPrediction


class VideoPredictor(Predictor):
    """Predicts from videos and writes a table of answers.

    If the model gives an answer per clip, the table has a row per video: its path in the column
    "file", and the answer. If the model gives an answer per frame, the table has a row per frame
    that the model reads: "file", "frame" (the index of the frame in the video, from 0), and the
    answer.

    Videos are read frame by frame, so that long ones fit into memory.

    Args:
        batch_size: Number of frames that are read at a time.
        format: Format of the table to write; if None, that of --output by its file extension, or
            else "jsonl".
        probabilities: Whether to write the probability of every class or label, too.
        plot: Folder to write a picture of each video to, named after the video: the probability of
            every class or label, or the numbers, at each frame. Needs an answer per frame.
    """

    inputs = "video files, or folders with an image per frame"

    def __init__(
        self,
        batch_size: int = 64,
        format: TableFormat | None = None,
        probabilities: bool = False,
        plot: str | None = None,
    ) -> None:
        check_range(1, batch_size=batch_size)
        self.batch_size = batch_size
        self.format = format
        self.probabilities = probabilities
        self.pictures = None if plot is None else Pictures(Path(plot))

    def run(self, task: "VideoPrediction", inputs: list[str], output: str) -> None:
        form = table_format(self.format, "", output)
        rows = self._rows(task, inputs, form)
        if form == "parquet":
            write_parquet(list(rows), Path(output))
        else:
            write(_lines(rows, form), output)

    def answers(self, task: "VideoPrediction", inputs: list[str]) -> Iterator[str]:
        form = table_format(self.format, "", "-")
        return _lines(self._rows(task, inputs, form), form)

    def _rows(
        self, task: "VideoPrediction", inputs: list[str], form: TableFormat
    ) -> Iterator[dict[str, Any]]:
        if self.pictures is not None and not task.per_frame:
            raise InputError(
                "plot needs a model with an answer per frame, got one with an answer per clip; "
                "remove --plot"
            )
        if inputs == ["-"]:
            raise InputError("expected videos; pass --input with files or folders")
        # All of them are opened first, so that a wrong name is found before the work starts.
        videos = [open_video(Path(path)) for path in inputs]
        step = task.check_trained()["frames"]["step"]
        pairs = zip(inputs, videos, strict=True)
        for path, video in progress(pairs, "predicting", len(videos)):
            answers: Iterable[Any] = task.answers_of(video, self.batch_size)
            if self.pictures is not None:
                answers = list(answers)
                self.pictures.draw(path, task.target, answers, step)
            for i, answer in enumerate(answers):
                place = {"file": path, "frame": i * step} if task.per_frame else {"file": path}
                yield place | answer_cells(task.target, answer, self.probabilities, form)


def _lines(rows: Iterable[dict[str, Any]], form: TableFormat) -> Iterator[str]:
    line = None
    for row in rows:
        header = ""
        if line is None:
            header, line = table_writer(form, list(row))
        yield header + line(row)
