"""Two courting fruit flies."""

from pathlib import Path
from typing import Literal

import numpy as np

from srulight.data.columns import Column, TableFile
from srulight.runtime.errors import InputError, check_range, listed
from srulight.tasks.pose_estimation.corpora.point_tables import PointRows, placed, point_names
from srulight.video.blocks import divided
from srulight.video.corpus import VideoCorpus, Videos
from srulight.video.open_video import open_video

Flies = Literal["close_pair", "close_pair_128", "wild_pair"]

_SEX = {"close_pair": ("male", "female"), "wild_pair": ("female", "male")}  # of flies 0 and 1
_BODY = ("head", "neck", "thorax", "abdomen", "wingL", "wingR", "eyeL", "eyeR")
_LEGS = ("1", "2")  # Endings of the names of joints near the body; labels of others often swap.
_LARGE = 384  # Height and width in pixels of the video that close_pair_128 is made of.


class FlyPoints(VideoCorpus):
    """Key points of two courting fruit flies, a male and a female, on all frames of a video.

    The videos are test data of SLEAP (Pereira et al. 2022, Nature Methods 19). The key points of
    ``close_pair`` are predictions of a trained network, and those of ``wild_pair`` were placed by a
    person. Adjacent frames are almost equal, so the parts consist of blocks of time.

    Args:
        video: ``close_pair`` (1100 frames of 384 x 384 pixels) or ``wild_pair`` (1500 frames of
            1024 x 1024 pixels), each an .mp4 file and a .csv file; or ``close_pair_128``, which has
            the frames of ``close_pair`` in 128 x 128 pixels in close_pair_128.npz, and needs no
            decoder.
        points: Key points, such as ``male.thorax``; if None, those on the bodies and wings of both
            flies, and those on their legs near the body.
        block: Number of frames per block of time. Of five blocks in a row, the second is for
            testing, the fourth for validation, and the others are for training.
    """

    kind = "points"

    def __init__(
        self,
        video: Flies = "close_pair",
        points: list[str] | None = None,
        block: int = 50,
    ) -> None:
        self.video = video
        self.points = points
        self.block = block
        check_range(1, block=block)

    def read(self, root: Path) -> Videos:
        if self.video == "close_pair_128":
            video = open_video(root / "close_pair_128.npz", "frames")
            scale = video.width / _LARGE
        else:
            video = open_video(root / f"{self.video}.mp4")
            scale = 1.0
        recording = self.video.removesuffix("_128")
        path = root / f"{recording}.csv"
        table = TableFile(path, "set --data.root to the folder of the flies")
        sexes = _SEX[recording]
        nodes = point_names(table)
        known = [f"{sex}.{node}" for sex in sexes for node in nodes]
        names = self.points
        if names is None:
            names = [name for name in known if name.endswith((*_BODY, *_LEGS))]
        for name in names:
            if name not in known:
                raise InputError(
                    f"points must be key points of {path} ({listed(known)}), got {name!r}"
                )
        columns = [f"{node}_{axis}" for node in nodes for axis in "xy"]
        number = Column("number", "set --data.root to the folder of the flies")
        found = table.read(dict.fromkeys(("frame", "fly", *columns), number))
        whole = np.empty((video.length, 2, len(nodes), 2), dtype=np.float32)
        points = np.stack([found.numbers[column] for column in columns], 1) * scale
        for fly in range(2):
            (own,) = np.nonzero(found.numbers["fly"] == fly)
            rows = PointRows(
                found.numbers["frame"][own],
                points[own].reshape(len(own), -1, 2),
                lambda row, own=own: found.place(int(own[row])),  # type: ignore[misc]
            )
            whole[:, fly] = placed(rows, video, nodes)
        chosen = whole.reshape(video.length, -1, 2)[:, [known.index(name) for name in names]]
        parts = divided(video, self.block, chosen)
        pairs = mirrored(names)
        return Videos(parts["train"], parts["val"], parts["test"], names=names, pairs=pairs)


def mirrored(names: list[str]) -> list[tuple[int, int]]:
    """Returns the pairs of left and right key points, whose names differ in an L and an R.

    Args:
        names: Names of the key points, such as wingL and forelegR2.
    """
    pairs = []
    for i, name in enumerate(names):
        sex, _, node = name.rpartition(".")
        for at, letter in enumerate(node):
            other = f"{sex}.{node[:at]}R{node[at + 1 :]}"
            if letter == "L" and other in names:
                pairs.append((i, names.index(other)))
    return pairs
