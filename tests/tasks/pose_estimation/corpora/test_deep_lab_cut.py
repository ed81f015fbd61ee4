"""Projects of DeepLabCut are read with all forms of their tables."""

from pathlib import Path

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.pose_estimation.corpora.deep_lab_cut import DeepLabCut

HEADERS = ["scorer,Ann,Ann,Ann,Ann", "bodyparts,nose,nose,tail,tail", "coords,x,y,x,y"]


def project(
    root: Path, rows: list[str], headers: list[str] = HEADERS, folder: str = "m1", count: int = 10
) -> Path:
    """Writes images of 20 x 10 pixels, img0.png and so on, and their table."""
    image = pytest.importorskip("PIL.Image")
    place = root / "labeled-data" / folder
    place.mkdir(parents=True)
    for i in range(count):
        image.fromarray(np.full((10, 20), i, dtype=np.uint8)).save(place / f"img{i}.png")
    (place / "CollectedData_Ann.csv").write_text("\n".join([*headers, *rows]) + "\n")
    return root


def plain(count: int = 10, folder: str = "m1") -> list[str]:
    return [f"labeled-data/{folder}/img{i}.png,{i}.5,2,19,{i}" for i in range(count)]


def test_each_image_is_a_clip(tmp_path: Path) -> None:
    videos = DeepLabCut(pairs=[["nose", "tail"]]).read(project(tmp_path, plain()))
    assert videos.names == ["nose", "tail"]
    assert videos.pairs == [(0, 1)]
    assert [len(part) for part in videos.parts.values()] == [8, 1, 1]
    for part in videos.parts.values():
        for clip in part:
            (frame,) = clip.video.frames(clip.first, clip.length)
            i = int(frame[0, 0, 0])
            assert clip.name == f"m1/img{i}.png"
            assert clip.targets.tolist() == [[[i + 0.5, 2], [19, i]]]
    again = DeepLabCut().read(tmp_path)
    assert [clip.name for clip in again.train] == [clip.name for clip in videos.train]


def test_paths_may_have_columns_of_their_own_and_other_endings(tmp_path: Path) -> None:
    headers = [line.replace(",", ",,,", 1) for line in HEADERS]
    rows = [f"labeled-data,m1,img{i}.jpg,{i},2,,{i}" for i in range(4)]
    videos = DeepLabCut(points=["tail"]).read(project(tmp_path, rows, headers))
    assert videos.names == ["tail"]
    points = np.concatenate([c.targets for part in videos.parts.values() for c in part])
    assert np.isnan(points[..., 0]).all()
    assert sorted(points[:, 0, 1].tolist()) == [0, 1, 2, 3]


def test_animals_are_part_of_the_names(tmp_path: Path) -> None:
    headers = [HEADERS[0], "individuals,a,a,b,b", *HEADERS[1:]]
    rows = [r"labeled-data\m1\img0.png,1,2,3,4", r"labeled-data\m1\img1.png,1,2,3,4"]
    rows += ["labeled-data/m1/img2.png,1,2,3,4"]
    videos = DeepLabCut().read(project(tmp_path, rows, headers))
    assert videos.names == ["a.nose", "b.tail"]


def test_folders_are_chosen(tmp_path: Path) -> None:
    project(tmp_path, plain())
    project(tmp_path, plain(3, "m2"), folder="m2")
    (tmp_path / "labeled-data" / "unlabeled").mkdir()
    both = DeepLabCut().read(tmp_path)
    assert sum(map(len, both.parts.values())) == 13
    one = DeepLabCut(videos=["m2"]).read(tmp_path)
    assert {clip.name[:2] for part in one.parts.values() for clip in part} == {"m2"}
    with pytest.raises(InputError, match=r"videos must name folders of .* \(m1, m2, unlabeled\)"):
        DeepLabCut(videos=["m3"]).read(tmp_path)


def test_a_name_in_a_table_never_leaves_its_folder(tmp_path: Path) -> None:
    (tmp_path / "img9.png").write_bytes(b"secret")
    rows = [*plain(3), "../../img9.png,1,2,3,4"]
    with pytest.raises(InputError, match=r"csv:7: img9.png is not in .*m1"):
        DeepLabCut().read(project(tmp_path, rows, count=3))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("labeled-data/m1/img3.png,1,2,3", r"csv:7: expected 5 columns, got 4"),
        ("labeled-data/m1/img3.png,1,2,3,x", r"csv:7: expected a number in column 'tail', got 'x'"),
        (
            "labeled-data/m1/img3.png,1,2,3,14",
            r"csv:7: expected 'tail' inside the frame of 20 x 10",
        ),
        ("labeled-data/m1/img77.png,1,2,3,4", r"csv:7: img77.png is not in"),
        ("labeled-data/m1/img0.png,1,2,3,4", "expected one row per image, got two of img0"),
    ],
)
def test_rows_are_checked(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        DeepLabCut().read(project(tmp_path, [*plain(3), row]))


@pytest.mark.parametrize(
    ("headers", "rows", "says"),
    [
        (HEADERS[:2], plain(3), "headers that begin with scorer, bodyparts and coords, got scorer"),
        ([*HEADERS[:2], "coords,x,y,y,x"], plain(3), "expected the columns x and y of each body"),
        (HEADERS, [], "expected rows below the headers, got none"),
    ],
)
def test_headers_are_checked(
    tmp_path: Path, headers: list[str], rows: list[str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        DeepLabCut().read(project(tmp_path, rows, headers, count=3))


def test_wrong_names_are_refused(tmp_path: Path) -> None:
    project(tmp_path, plain(3))
    with pytest.raises(InputError, match="expected the body part 'ear', got nose, tail"):
        DeepLabCut(points=["ear"]).read(tmp_path)
    with pytest.raises(InputError, match=r"pairs must be pairs of different .*\['nose', 'ear'\]"):
        DeepLabCut(pairs=[["nose", "ear"]]).read(tmp_path)
    with pytest.raises(InputError, match=r"expected one table CollectedData_Bob\.csv, got none"):
        DeepLabCut(scorer="Bob").read(tmp_path)
    with pytest.raises(InputError, match="labeled-data cannot be read: No such file or directory"):
        DeepLabCut().read(tmp_path / "elsewhere")
