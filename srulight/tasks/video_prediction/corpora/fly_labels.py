"""Labels of behavior in a video of two flies."""

from pathlib import Path
from typing import Literal

import numpy as np

from srulight.data.columns import Column
from srulight.runtime.errors import InputError, check_range
from srulight.video.blocks import divided
from srulight.video.corpus import VideoCorpus, Videos
from srulight.video.open_video import open_video
from srulight.video.tables import read_frames

_LABELS = ("male_moving", "female_moving", "close", "male_wing_out")
_TABLE = "close_pair_labels.csv"
_SOURCES = {"video": "close_pair.mp4", "array": "close_pair_128.npz"}
_REMEDY = "set --data.root to the folder that contains close_pair.mp4 and close_pair_labels.csv"


class FlyLabels(VideoCorpus):
    """What two courting fruit flies do in each frame of a video of 1,100 frames.

    The labels are whether the male moves, whether the female moves, whether both are close to each
    other, and whether the male extends a wing. They were derived by rules from the key points that
    a network of SLEAP (Pereira et al. 2022, Nature Methods 19) has predicted. The files are
    ``close_pair.mp4``, from the tests of SLEAP, or ``close_pair_128.npz``, with the same frames as
    an array of 128 x 128 pixels; and ``close_pair_labels.csv``, with the columns frame,
    male_moving, female_moving, close and male_wing_out.

    Adjacent frames are almost equal, so the parts consist of blocks of time.

    Args:
        source: "video" to read ``close_pair.mp4``, which requires PyAV; "array" to read
            ``close_pair_128.npz``.
        block: Number of frames per block of time. Of five blocks in a row, the second is for
            testing, the fourth for validation, and the others are for training.
    """

    kind = "labels"
    per = "frame"

    def __init__(
        self,
        source: Literal["video", "array"] = "video",
        block: int = 50,
    ) -> None:
        self.source = source
        self.block = block
        check_range(1, block=block)

    def read(self, root: Path) -> Videos:
        path = root / _SOURCES[self.source]
        if not path.is_file():
            raise InputError(f"{path.name} is not in {root.absolute()}; {_REMEDY}")
        video = open_video(path, "frames" if self.source == "array" else None)
        wanted = dict.fromkeys(_LABELS, Column("number", "use the file of these labels"))
        table = read_frames(root / _TABLE, "frame", wanted, _REMEDY)
        if not np.array_equal(table.frames, np.arange(video.length)):
            raise InputError(
                f"{root / _TABLE}: expected a row for each of the {video.length:,} frames of "
                f"{path.name}, got {len(table.frames):,}; use the files of one video"
            )
        columns = [table.columns.numbers[name] for name in _LABELS]
        targets = np.stack(columns, axis=1).astype(np.float32)
        parts = divided(video, self.block, targets)
        return Videos(parts["train"], parts["val"], parts["test"], names=_LABELS, columns=_LABELS)
