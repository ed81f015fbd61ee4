"""Cholec80: instruments and phases of operations on the gallbladder, second by second."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.errors import InputError
from srulight.runtime.files import file_checksum, read_text
from srulight.targets import Kind
from srulight.tasks.sequence_prediction.corpora.assembly import OneSequence, assemble
from srulight.tasks.sequence_prediction.corpora.base import SequenceCorpus, Sequences

_TOOLS = ("Grasper", "Bipolar", "Hook", "Scissors", "Clipper", "Irrigator", "SpecimenBag")
_PHASES = (
    "Preparation", "CalotTriangleDissection", "ClippingCutting", "GallbladderDissection",
    "GallbladderPackaging", "CleaningCoagulation", "GallbladderRetraction",
)  # fmt: skip
_RATE = 25  # frames per second
_REMEDY = "set --data.root to the folder that contains tool_annotations and phase_annotations"


class Cholec80(SequenceCorpus):
    """Labels of Cholec80: 80 operations on the gallbladder, with instruments and phases per second.

    Twinanda et al. (2017), EndoNet: A Deep Architecture for Recognition Tasks on Laparoscopic
    Videos, IEEE Transactions on Medical Imaging (arXiv 1602.03012). The files are
    ``tool_annotations/videoNN-tool.txt`` and ``phase_annotations/videoNN-phase.txt``, which the
    authors distribute together with the videos. The videos are not read. A file of phases may have
    a row per frame, as the original ones have; the rows of the frames that the file of tools names
    are used. The times are in seconds.

    The targets are the 7 instruments (labels) or the 7 phases (classes), in the order in which most
    operations go through them. With the same features and targets, the targets must lie in the
    future: set ``--data.horizon``, in seconds.

    Args:
        features: What the model reads at each step: "tools", "phase" (7 features, one of which is
            1), or "both".
        target: What the model predicts at each step: "tools" or "phase".
        train: First and last number of the training videos.
        val: First and last number of the validation videos.
        test: First and last number of the test videos.
    """

    per = "step"

    def __init__(
        self,
        features: Literal["tools", "phase", "both"] = "tools",
        target: Literal["tools", "phase"] = "tools",
        train: tuple[int, int] = (1, 32),
        val: tuple[int, int] = (33, 40),
        test: tuple[int, int] = (41, 80),
    ) -> None:
        self.kind: Kind = "labels" if target == "tools" else "class"
        self.features = features
        self.target = target
        self.videos = {"train": train, "val": val, "test": test}
        for name, (first, last) in self.videos.items():
            if not 1 <= first <= last:
                raise InputError(
                    f"{name} must be the first and the last number of its videos, got "
                    f"[{first}, {last}]"
                )

    def recipe(self, root: Path) -> Any:  # noqa: ANN401
        sums = [
            file_checksum(path, _REMEDY)
            for first, last in self.videos.values()
            for number in range(first, last + 1)
            for path in _paths(root, number)
        ]
        return [self.features, self.target, self.videos, sums]

    def read(self, root: Path) -> Sequences:
        found = {
            part: [self._video(root, number) for number in range(first, last + 1)]
            for part, (first, last) in self.videos.items()
        }
        names = _TOOLS if self.target == "tools" else _PHASES
        parts, targets = assemble(found, self.kind, "step", names)
        features = {"tools": _TOOLS, "phase": _PHASES, "both": _TOOLS + _PHASES}
        return Sequences(
            parts["train"],
            parts["val"],
            parts["test"],
            numbers=features[self.features],
            categories=[],
            targets=targets,
            time_column="Frame",
        )

    def _video(self, root: Path, number: int) -> OneSequence:
        tool_path, phase_path = _paths(root, number)
        frames, tools = _read_tools(tool_path)
        phases = _read_phases(phase_path, frames, tool_path)
        is_phase = np.eye(len(_PHASES), dtype=np.float32)[phases]
        features = {"tools": tools, "phase": is_phase, "both": np.hstack((tools, is_phase))}
        return OneSequence(
            name=f"video{number:02}",
            numbers=features[self.features],
            times=frames / _RATE,
            targets=tools if self.target == "tools" else phases,
            place=lambda step: f"{tool_path}:{step + 2}",
        )


def _paths(root: Path, number: int) -> tuple[Path, Path]:
    return (
        root / "tool_annotations" / f"video{number:02}-tool.txt",
        root / "phase_annotations" / f"video{number:02}-phase.txt",
    )


def _read(path: Path, columns: tuple[str, ...]) -> tuple[NDArray[np.int64], list[list[str]]]:
    """Returns the frame and the other cells of each row."""
    header, *rows = [line.split() for line in read_text(path, _REMEDY).rstrip().split("\n")]
    expected = ["Frame", *columns]
    if header != expected:
        raise InputError(
            f"{path}:1: expected the columns {', '.join(expected)}, got {', '.join(header)}; use "
            "the files of Cholec80"
        )
    if not rows:
        raise InputError(f"{path}: expected rows below the header, got none; use another file")
    for line, row in enumerate(rows, 2):
        if len(row) != len(expected):
            raise InputError(
                f"{path}:{line}: expected {len(expected)} columns, got {len(row)}; correct the row"
            )
    # Files of phases have tens of thousands of rows, which NumPy checks together.
    frames = np.array([int(row[0]) if row[0].isdecimal() else -1 for row in rows])
    wrong = np.diff(frames, prepend=-1) <= 0
    if wrong.any():
        index = int(wrong.argmax())
        raise InputError(
            f"{path}:{index + 2}: expected a frame after that of the row before, got "
            f"{rows[index][0]!r}; correct the row"
        )
    return frames, [row[1:] for row in rows]


def _read_tools(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Returns the frame and the tools of each row, (T,) and (T, 7)."""
    frames, rows = _read(path, _TOOLS)
    for line, row in enumerate(rows, 2):
        if not {*row} <= {"0", "1"}:
            wrong = next(cell for cell in row if cell not in ("0", "1"))
            raise InputError(
                f"{path}:{line}: expected 0 or 1 for each instrument, got {wrong!r}; correct it"
            )
    return frames, (np.array(rows) == "1").astype(np.float32)


def _read_phases(path: Path, frames: NDArray[np.int64], tool_path: Path) -> NDArray[np.int64]:
    """Returns the index of the phase at each frame of the file of tools, (T,)."""
    own, rows = _read(path, ("Phase",))
    indices = {name: index for index, name in enumerate(_PHASES)}
    for line, (name,) in enumerate(rows, 2):
        if name not in indices:
            raise InputError(
                f"{path}:{line}: expected one of the phases {', '.join(_PHASES)}, got {name!r}; "
                "correct the row"
            )
    rows_of_frames = np.minimum(np.searchsorted(own, frames), len(own) - 1)
    missing = own[rows_of_frames] != frames
    if missing.any():
        raise InputError(
            f"{path}: expected a row for frame {frames[missing.argmax()]}, as in "
            f"{tool_path.name}, got none; use the files of one video"
        )
    return np.array([indices[rows[row][0]] for row in rows_of_frames.tolist()])
