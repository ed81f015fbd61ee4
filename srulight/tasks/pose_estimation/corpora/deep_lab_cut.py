"""Projects of DeepLabCut."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.data.cells import as_number, read_cell
from srulight.data.hold_out import hold_out
from srulight.runtime.errors import InputError, listed
from srulight.runtime.faults import Faults
from srulight.runtime.files import LONGEST_LINE, lines
from srulight.tasks.pose_estimation.corpora.point_tables import check_inside
from srulight.video.corpus import Clip, VideoCorpus, Videos
from srulight.video.image_folder import IMAGES, ImageVideo

_LABELED = "labeled-data"
_REMEDY = "set --data.root to the folder of a project of DeepLabCut"


class DeepLabCut(VideoCorpus):
    """The labeled frames of a project of DeepLabCut (Mathis et al. 2018, Nature Neuroscience 21).

    The project has a folder ``labeled-data``, with a folder per video that contains a table
    ``CollectedData_SCORER.csv`` and the images that it names. Each labeled image is a clip of one
    frame, because DeepLabCut picks the frames to label from all over the video. A tenth of the
    images is held out for the test and a tenth of the others for validation, always the same ones.

    In a project with several animals, the key points are named ANIMAL.POINT.

    Args:
        videos: Folders within ``labeled-data`` to read; if None, all.
        points: Names of the key points to read; if None, all.
        scorer: Name in the names of the tables, for folders that have several; if None, the only
            one.
        pairs: Pairs of names that a mirror image exchanges, such as [[leftear, rightear]].
    """

    kind = "points"

    def __init__(
        self,
        videos: list[str] | None = None,
        points: list[str] | None = None,
        scorer: str | None = None,
        pairs: list[list[str]] | None = None,
    ) -> None:
        self.videos = videos
        self.points = points
        self.scorer = scorer
        self.pairs = pairs or []

    def read(self, root: Path) -> Videos:
        names: list[str] = self.points or []
        clips: list[Clip] = []
        for folder in self._folders(root / _LABELED):
            table = _read(self._table(folder))
            names = names or table.names
            clips += _clips(folder, table, names)
        train, test = hold_out(clips)
        train, val = hold_out(train)
        return Videos(train, val, test, names, pairs=paired(self.pairs, names))

    def _folders(self, parent: Path) -> list[Path]:
        try:
            found = sorted(path for path in parent.iterdir() if path.is_dir())
        except OSError as error:
            raise InputError(f"{parent} cannot be read: {error.strerror}; {_REMEDY}") from error
        if self.videos is None:
            found = [path for path in found if any(path.glob("CollectedData_*.csv"))]
            if not found:
                raise InputError(
                    f"{parent}: expected folders with a table CollectedData_SCORER.csv, got none; "
                    f"{_REMEDY}"
                )
            return found
        known = {path.name: path for path in found}
        for name in self.videos:
            if name not in known:
                raise InputError(
                    f"videos must name folders of {parent} ({listed([*known])}), got {name!r}"
                )
        return [known[name] for name in self.videos]

    def _table(self, folder: Path) -> Path:
        pattern = f"CollectedData_{self.scorer}.csv" if self.scorer else "CollectedData_*.csv"
        found = sorted(path for path in folder.iterdir() if path.match(pattern))
        if len(found) != 1:
            raise InputError(
                f"{folder}: expected one table {pattern}, got "
                f"{listed([path.name for path in found]) or 'none'}; set --data.corpus.scorer"
            )
        return found[0]


def paired(pairs: list[list[str]], names: list[str]) -> list[tuple[int, int]]:
    """Returns pairs of names as indices.

    Args:
        pairs: Pairs of names that a mirror image exchanges.
        names: Names of the key points.

    Raises:
        InputError: If a pair does not consist of two key points.
    """
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or not {*pair} <= {*names}:
            raise InputError(
                f"pairs must be pairs of different key points ({listed(names)}), got {pair}"
            )
    return [(names.index(pair[0]), names.index(pair[1])) for pair in pairs]


class _Table(NamedTuple):
    """A table of labels.

    Attributes:
        path: Path of the table.
        names: Names of the key points.
        images: Name of each image.
        points: x and y, (R, K, 2), NaN where missing.
        numbers: Number of the line of each row.
    """

    path: Path
    names: list[str]
    images: list[str]
    points: NDArray[np.float64]
    numbers: list[int]

    @property
    def place(self) -> Callable[[int], str]:
        return lambda row: f"{self.path}:{self.numbers[row]}"


def _read(path: Path) -> _Table:
    """Reads a table with rows of headers: scorer, perhaps individuals, bodyparts and coords."""
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(f"{line}\n" for _, line in lines(path, _REMEDY))
    headers: dict[str, list[str]] = {}
    images: list[str] = []
    numbers: list[int] = []
    points: list[list[float]] = []
    faults = Faults()
    first = 1
    for row in reader:
        place = f"{path}:{reader.line_num}"
        if row and row[0] in ("scorer", "individuals", "bodyparts", "coords"):
            headers[row[0]] = row
            continue
        if not row:
            continue
        if not points and not numbers:
            first = _check_headers(path, headers)
        if len(row) != len(headers["coords"]):
            faults.add(f"{place}: expected {len(headers['coords'])} columns, got {len(row)}")
            continue
        numbers.append(reader.line_num)
        # Tables of some versions have the parts of the path of an image in columns of their own.
        images.append(re.split(r"[\\/]", row[first - 1])[-1])
        try:
            cells = zip(row[first:], headers["bodyparts"][first:], strict=True)
            points.append([read_cell(as_number, cell, column, place) for cell, column in cells])
        except InputError as error:
            faults.add(error)
            points.append([np.nan] * (len(row) - first))
    faults.refuse()
    if not points:
        raise InputError(f"{path}: expected rows below the headers, got none; label some frames")
    names = headers["bodyparts"][first::2]
    if "individuals" in headers:
        names = [
            ".".join(both) for both in zip(headers["individuals"][first::2], names, strict=True)
        ]
    return _Table(path, names, images, np.array(points).reshape(len(points), -1, 2), numbers)


def _check_headers(path: Path, headers: dict[str, list[str]]) -> int:
    """Checks the rows of headers, and returns the index of the first column of numbers."""
    for name in ("scorer", "bodyparts", "coords"):
        if name not in headers:
            raise InputError(
                f"{path}: expected rows of headers that begin with scorer, bodyparts and coords, "
                f"got {', '.join(headers) or 'none'}; export the labels from DeepLabCut again"
            )
    coords = headers["coords"]
    first = next((i for i, cell in enumerate(coords) if cell == "x"), len(coords))
    count = (len(coords) - first) // 2
    same = {len(row) for row in headers.values()} == {len(coords)}
    if not count or coords[first:] != ["x", "y"] * count or not same:
        raise InputError(
            f"{path}: expected the columns x and y of each body part, got {listed(coords)}; export "
            "the labels from DeepLabCut again"
        )
    return first


def _clips(folder: Path, table: _Table, names: list[str]) -> list[Clip]:
    """Returns a clip per labeled image of a folder."""
    for name in names:
        if name not in table.names:
            raise InputError(
                f"{table.path}: expected the body part {name!r}, got {listed(table.names)}; choose "
                "the key points with --data.corpus.points"
            )
    faults = Faults()
    paths = [_image(folder, name) for name in table.images]
    for row, path in enumerate(paths):
        if path is None:
            faults.add(f"{table.place(row)}: {table.images[row]} is not in {folder}")
    if twice := next((n for n in table.images if table.images.count(n) > 1), None):
        faults.add(f"{table.path}: expected one row per image, got two of {twice}")
    faults.refuse()
    video = ImageVideo(folder, [path for path in paths if path is not None])
    points = table.points[:, [table.names.index(name) for name in names]]
    check_inside(points, video, names, table.place, faults)
    faults.refuse()
    targets = points.astype(np.float32)
    return [
        Clip(f"{folder.name}/{image}", video, i, 1, targets[i : i + 1])
        for i, image in enumerate(table.images)
    ]


def _image(folder: Path, name: str) -> Path | None:
    """Returns the path of an image, which may have been converted to another format."""
    path = folder / name
    found = [path, *(path.with_suffix(ending) for ending in IMAGES)]
    return next((one for one in found if one.is_file()), None)
