"""Cholec80, from small files in its layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.sequence_prediction import Cholec80, Sequences

HEADER = "Frame\tGrasper\tBipolar\tHook\tScissors\tClipper\tIrrigator\tSpecimenBag"
TOOLS = ["1\t0\t0\t0\t0\t0\t0", "1\t0\t1\t0\t0\t0\t0", "0\t0\t0\t0\t0\t0\t1"]
PHASES = ["Preparation", "CalotTriangleDissection", "GallbladderPackaging"]


def write(folder: Path, number: int, every_frame: bool = True) -> tuple[Path, Path]:
    """Writes a video of three seconds, with a phase per frame as in the original files."""
    tools = folder / "tool_annotations" / f"video{number:02}-tool.txt"
    phases = folder / "phase_annotations" / f"video{number:02}-phase.txt"
    for path in (tools, phases):
        path.parent.mkdir(exist_ok=True)
    tools.write_text("\n".join([HEADER, *(f"{25 * i}\t{row}" for i, row in enumerate(TOOLS))]))
    frames = range(0, 75, 1 if every_frame else 25)
    # The phase changes just before the second.
    rows = [f"{frame}\t{PHASES[min(2, (frame + 1) // 25)]}" for frame in frames]
    phases.write_text("\n".join(["Frame\tPhase", *rows, ""]))
    return tools, phases


def read(folder: Path, **options: Any) -> Sequences:  # noqa: ANN401
    return Cholec80(**({"train": (1, 2), "val": (3, 3), "test": (4, 4)} | options)).read(folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(1, 5):
        write(tmp_path, number, every_frame=number % 2 == 0)
    return tmp_path


def test_tools_and_phases_of_the_same_frames(root: Path) -> None:
    tools = [[1, 0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1]]
    phases = [0, 1, 4]  # in the order of time, not of the alphabet
    sequences = read(root, features="both", target="phase")
    for part, count in ((sequences.train, 2), (sequences.val, 1), (sequences.test, 1)):
        assert part is not None
        assert part.lengths.tolist() == [3] * count
        assert part.targets.tolist() == phases * count
        np.testing.assert_array_equal(part.numbers[:, :7], tools * count)
        np.testing.assert_array_equal(part.numbers[:, 7:].argmax(1), phases * count)
        assert (part.numbers[:, 7:].sum(1) == 1).all()
        assert part.times is not None
        assert part.times.tolist() == [0, 1, 2] * count  # seconds
    assert sequences.targets == [
        "Preparation", "CalotTriangleDissection", "ClippingCutting", "GallbladderDissection",
        "GallbladderPackaging", "CleaningCoagulation", "GallbladderRetraction",
    ]  # fmt: skip
    assert list(sequences.train.names) == ["video01", "video02"]
    assert len(sequences.numbers) == 14


def test_tools_as_labels(root: Path) -> None:
    corpus = Cholec80(target="tools", train=(1, 1), val=(2, 2), test=(3, 4))
    assert (corpus.kind, corpus.per) == ("labels", "step")
    sequences = corpus.read(root)
    np.testing.assert_array_equal(sequences.train.targets, sequences.train.numbers)
    assert sequences.targets == HEADER.split("\t")[1:]
    assert Cholec80(target="phase").kind == "class"
    path = root / "tool_annotations" / "video04-tool.txt"
    assert sequences.test is not None
    assert sequences.test.place(4) == f"{path}:3"


def test_the_usual_parts() -> None:
    assert Cholec80().videos == {"train": (1, 32), "val": (33, 40), "test": (41, 80)}
    with pytest.raises(InputError, match=r"val must be the first and the last .*, got \[5, 4\]"):
        Cholec80(val=(5, 4))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "Hook\tScissors",
            "Scissors\tHook",
            "tool.txt:1: expected the columns Frame, Grasper, Bip",
        ),
        ("25\t1", "25\t2", "tool.txt:3: expected 0 or 1 for each instrument, got '2'; correct it"),
        ("\n25\t", "\n0\t", "tool.txt:3: expected a frame after that of the row before, got '0'"),
        ("\n25\t", "\nx\t", "tool.txt:3: expected a frame after that of the row before, got 'x'"),
        ("25\t1\t", "25\t", "tool.txt:3: expected 8 columns, got 7; correct the row"),
        (
            "\n50\t",
            "\n90\t",
            "video02-phase.txt: expected a row for frame 90, as in video02-tool.tx",
        ),
    ],
)
def test_tools_that_are_refused(root: Path, old: str, new: str, message: str) -> None:
    path = root / "tool_annotations" / "video02-tool.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        read(root)
    assert message in str(caught.value)


def test_phases_that_are_refused(root: Path) -> None:
    path = root / "phase_annotations" / "video02-phase.txt"
    path.write_text(path.read_text().replace("Packaging", "Package", 1))
    with pytest.raises(InputError, match=r"phase.txt:51: expected one of the phases .*Package'"):
        read(root)
    path.write_text("Frame\tPhase\n")
    with pytest.raises(InputError, match=r"phase.txt: expected rows below the header, got none"):
        read(root)


def test_a_missing_video(root: Path) -> None:
    for reads in (read, lambda folder, **options: Cholec80(**options).recipe(folder)):
        with pytest.raises(InputError, match=r"video05-tool.txt is not in .*; set --data.root"):
            reads(root, train=(1, 2), val=(3, 3), test=(4, 5))


def test_the_recipe_follows_the_files(root: Path) -> None:
    corpus = Cholec80(train=(1, 2), val=(3, 3), test=(4, 4))
    first = corpus.recipe(root)
    path = root / "phase_annotations" / "video02-phase.txt"
    path.write_text(path.read_text().replace("CalotTriangleDissection", "ClippingCutting"))
    assert corpus.recipe(root) != first
