"""The interface of corpora of videos."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from srulight.data.base import Corpus
from srulight.targets import Kind
from srulight.video.sources import VideoSource

Per = Literal["clip", "frame"]
"""Whether each clip has a target, or each of its frames."""


@dataclass(frozen=True)
class Clip:
    """Consecutive frames of a video, with their targets.

    Attributes:
        name: Name of the clip, which answers and messages contain.
        video: The video.
        first: Index of the first frame of the clip, from 0.
        length: Number of frames, T, at least 1.
        targets: Target of the clip, () int64 or (K,) float32, or of its frames, (T,) int64 or (T,
            K) float32: classes, -100 where missing; or labels and numbers, NaN where missing. For
            key points, (T, K, 2) float32: x and y in pixels of the video, from the upper left
            corner of the frame, NaN where missing.
    """

    name: str
    video: VideoSource
    first: int
    length: int
    targets: NDArray[Any]


@dataclass(frozen=True)
class Videos:
    """The contents of a corpus.

    Attributes:
        train: Training clips.
        val: Validation clips.
        test: Test clips; None if the corpus has none.
        names: Names of the classes, labels, numbers or key points.
        columns: Columns of a table that the targets were read from, if any.
        pairs: Pairs of key points that a mirror image exchanges, such as a left and a right ear, as
            indices into ``names``.
        notes: Lines about the corpus, to log before training.
    """

    train: Sequence[Clip]
    val: Sequence[Clip]
    test: Sequence[Clip] | None
    names: Sequence[str]
    columns: Sequence[str] = ()
    pairs: Sequence[tuple[int, int]] = ()
    notes: Sequence[str] = ()

    @property
    def parts(self) -> dict[str, Sequence[Clip]]:
        """The parts that exist, by name: "train", "val" and "test"."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}


class VideoCorpus(Corpus[Videos]):
    """A corpus of videos, which ``read`` returns as ``Videos`` without decoding them.

    Attributes:
        kind: Kind of the targets; "points" for key points.
        per: Whether each clip has a target, or each of its frames. Key points are per frame.
    """

    kind: Kind | Literal["points"] = "labels"
    per: Per = "frame"

    @abstractmethod
    def read(self, root: Path) -> Videos:
        """Locates the videos and reads their targets.

        Args:
            root: Folder of the files.

        Raises:
            InputError: If a file is missing, a video cannot be opened, or targets do not fit it.
        """


def no_targets(kind: Kind | Literal["points"], shape: Sequence[int]) -> NDArray[Any]:
    """Returns targets that are all missing.

    Args:
        kind: Kind of the targets.
        shape: Shape of the targets.
    """
    if kind == "class":
        return np.full(shape, -100, dtype=np.int64)
    return np.full(shape, np.nan, dtype=np.float32)
