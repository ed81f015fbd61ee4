"""Video prediction and pose estimation: video files, images and arrays of frames."""

import re
from pathlib import Path
from typing import Any, ClassVar

from srulight.serving.fields import Field
from srulight.serving.limits import Limits, RequestError
from srulight.serving.services.base import Service, plain
from srulight.serving.services.texts import PROBABILITIES, target_answer
from srulight.tasks.pose_estimation.task import Pose
from srulight.video.open_video import open_video

_FILES = {
    "video/mp4": ".mp4", "video/x-msvideo": ".avi", "video/quicktime": ".mov",
    "video/x-matroska": ".mkv", "video/webm": ".webm", "image/gif": ".gif", "image/png": ".png",
    "image/jpeg": ".jpg", "application/x-npy": ".npy",
}  # fmt: skip
_MAGIC = {
    ".mp4": rb".{4}ftyp", ".mov": rb".{4}(ftyp|moov|mdat|wide|free)", ".avi": rb"RIFF.{4}AVI ",
    ".mkv": rb"\x1aE\xdf\xa3", ".webm": rb"\x1aE\xdf\xa3", ".gif": rb"GIF8", ".png": rb"\x89PNG",
    ".jpg": rb"\xff\xd8\xff", ".npy": rb"\x93NUMPY",
}  # fmt: skip
"""How files of each ending begin. FFmpeg would also open playlists, which name other files."""

_TOGETHER = 64  # Number of frames that are read at a time.


class _Videos(Service):
    """Reads a video."""

    kind: ClassVar = "video"
    files: ClassVar = _FILES

    @property
    def input_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "binary"}

    def read_input(self, value: Any, name: str) -> Any:  # noqa: ANN401
        raise RequestError(415, "expected a video, such as video/mp4, got JSON")

    def check_file(self, path: Path) -> None:
        with path.open("rb") as file:
            if not re.match(_MAGIC[path.suffix], file.read(16), re.DOTALL):
                raise RequestError(
                    422, f"expected a {path.suffix} file as the content type says, got other data"
                )
        length = open_video(path).length
        if length > self.limits.max_frames:
            raise RequestError(
                413, f"a video must have at most {self.limits.max_frames} frames, got {length}; "
                "divide it",
            )  # fmt: skip


class VideoService(_Videos):
    """Answers with the columns that ``predict`` writes, for each video or for each frame."""

    options: tuple[Field, ...] = (PROBABILITIES,)

    def answer(self, inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        found = self.task.predict(inputs, _TOGETHER)
        if not self.task.per_frame:
            return [target_answer(self.task.target, one, options) for one in found]
        return [
            [target_answer(self.task.target, one, options) for one in frames] for frames in found
        ]


class PoseService(_Videos):
    """Answers with the key points in each frame."""

    def __init__(self, task: Any, limits: Limits) -> None:  # noqa: ANN401
        super().__init__(task, limits)
        self._names: list[str] = task.check_trained()["points"]["names"]

    @property
    def facts(self) -> dict[str, Any]:
        return {**super().facts, "labels": self._names}

    def answer(self, inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        return [self._rows(pose) for pose in self.task.predict(inputs, _TOGETHER)]

    def _rows(self, pose: Pose) -> list[dict[str, Any]]:
        rows = []
        for frame, points, scores in zip(
            pose.frames.tolist(), pose.points.tolist(), pose.scores.tolist(), strict=True
        ):
            found = {
                name: {"x": round(x, 2), "y": round(y, 2), "score": round(score, 3)}
                for name, (x, y), score in zip(self._names, points, scores, strict=True)
            }
            rows.append(plain({"frame": frame, "points": found}))
        return rows
