"""Folders of images, images, and arrays as videos."""

import io
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srulight.runtime.errors import InputError
from srulight.video import ArrayVideo, open_video
from srulight.video.image_folder import natural_order
from tests.video.videos import moving_square


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


def test_names_are_in_natural_order() -> None:
    names = ["f10.png", "f9.png", "f010.png", "1.png", "a.png", "f.png"]
    assert sorted(names, key=natural_order) == [
        "1.png", "a.png", "f9.png", "f010.png", "f10.png", "f.png",
    ]  # fmt: skip


def test_folder_of_images(tmp_path: Path) -> None:
    frames = moving_square(11)
    folder = tmp_path / "clip"
    folder.mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("left out")
    (folder / "._0.png").write_bytes(b"left out")
    video = open_video(folder)
    assert (video.length, video.height, video.width) == (11, 24, 32)
    np.testing.assert_array_equal(np.stack([*video.frames()]), frames)
    np.testing.assert_array_equal(np.stack([*video.frames(9, 2)]), frames[9:])
    before = video.key()
    Image.fromarray(frames[0]).save(folder / "3.png")
    assert open_video(folder).key() != before


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif"])
def test_image_is_a_video_of_one_frame(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.full((4, 6), 100, dtype=np.uint8)).save(path)
    video = open_video(path)
    (frame,) = video.frames()
    assert video.length == 1
    assert frame.shape == (4, 6, 1)
    assert np.abs(frame.astype(int) - 100).max() <= 1


def test_any_image_in_color_makes_all_of_them_so(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 100, dtype=np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.full((4, 6, 3), (9, 8, 7), dtype=np.uint8)).save(tmp_path / "1.png")
    gray, color = open_video(tmp_path).frames()
    assert gray[0, 0].tolist() == [100, 100, 100]
    assert color[0, 0].tolist() == [9, 8, 7]


def test_bad_images(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    with pytest.raises(InputError, match=r"expected images .* in the folder, got none"):
        open_video(folder)
    Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(folder / "0.png")
    Image.fromarray(np.zeros((5, 6), dtype=np.uint8)).save(folder / "1.png")
    with pytest.raises(InputError, match=r"1\.png: expected an image of 6 x 4 .* got 6 x 5"):
        open_video(folder)
    (folder / "1.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1\.png: expected an image .* Pillow cannot read"):
        open_video(folder)
    Image.fromarray(np.zeros((4, 6), dtype=np.uint16)).save(folder / "1.png")
    with pytest.raises(InputError, match=r"1\.png: expected an image with 8 bits"):
        open_video(folder)
    noise = np.random.default_rng(0).integers(0, 256, (4, 6), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "1.png")
    data = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(data[:60])
    with pytest.raises(InputError, match=r"1\.png: expected a complete image, got a damaged"):
        [*open_video(folder).frames()]


def test_decompression_bomb_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = struct.pack(">II", 9000, 9000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"expected frames of 1 to 67,108,864 .* 9000 x 9000"):
        open_video(tmp_path / "a.png")


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(InputError, match=r'pip install "srulight\[video\]"'):
        open_video(tmp_path / "a.png")


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
def test_array_in_a_file(tmp_path: Path, kind: str, channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (7, 4, 5, *channels), dtype=np.uint8)
    path = tmp_path / f"a.{'npy' if kind == 'npy' else 'npz'}"
    if kind == "npy":
        np.save(path, frames)
    else:
        save = np.savez if kind == "npz" else np.savez_compressed
        save(path, points=np.zeros((7, 2)), own=frames)
    video = open_video(path)
    expected = frames.reshape(7, 4, 5, -1)
    np.testing.assert_array_equal(np.stack([*video.frames()]), expected)
    np.testing.assert_array_equal(np.stack([*video.frames(3, 2)]), expected[3:5])
    np.testing.assert_array_equal(np.stack([*ArrayVideo(frames).frames(3, 2)]), expected[3:5])


def test_named_array(tmp_path: Path) -> None:
    one, other = np.zeros((2, 3, 4), dtype=np.uint8), np.ones((5, 3, 4), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", one=one, other=other)
    assert open_video(tmp_path / "a.npz", "other").length == 5
    with pytest.raises(InputError, match="expected an array of frames, got the arrays one, other"):
        open_video(tmp_path / "a.npz")
    with pytest.raises(InputError, match="expected an array 'x', got the arrays one, other"):
        open_video(tmp_path / "a.npz", "x")


def test_bad_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    bad: dict[str, NDArray[Any]] = {
        "got float64 of shape": np.zeros((2, 3, 4)),
        "got uint8 of shape": np.zeros((2, 3, 4, 2), dtype=np.uint8),
        "expected at least one frame": np.zeros((0, 3, 4), dtype=np.uint8),
        "got 4 x 0": np.zeros((2, 0, 4), dtype=np.uint8),
        "in C order": np.asfortranarray(np.zeros((2, 3, 4), dtype=np.uint8)),
    }
    for message, array in bad.items():
        np.save(path, array)
        with pytest.raises(InputError, match=message):
            open_video(path)
    np.save(path, np.array([[[None]]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="expected an array of frames"):
        open_video(path)
    path.write_bytes(b"no array")
    with pytest.raises(InputError, match="expected a complete NumPy file"):
        open_video(path)
    np.save(path, np.zeros((2, 3, 4), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="frame 1: expected 12 bytes, got 11"):
        [*open_video(path).frames()]


def test_compressed_array_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    # The header declares 2 GB, of which only the first frame is there.
    path = tmp_path / "a.npz"
    header = {"descr": "|u1", "fortran_order": False, "shape": (1 << 11, 1 << 10, 1 << 10)}
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frames.npy", start.getvalue() + bytes(1 << 20))
    video = open_video(path)
    frames = video.frames()
    assert next(frames).sum() == 0
    with pytest.raises(InputError, match="frame 1: expected 1,048,576 bytes, got 0"):
        next(frames)


def test_unknown_ending(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").touch()
    with pytest.raises(InputError, match=r"a\.xyz: expected a folder of images, or a name ending"):
        open_video(tmp_path / "a.xyz")
