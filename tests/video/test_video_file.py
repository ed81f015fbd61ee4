"""Video files: exact frames, exact lengths, and damaged files."""

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from srulight.runtime.errors import InputError
from srulight.video import open_video, open_videos, video_file
from tests.video.videos import encode, moving_square

KINDS = {
    "a.mp4": ("libx264", "yuv420p"),  # with frames that refer to later ones
    "a.avi": ("mpeg4", "yuv420p"),
    "a.mkv": ("libx264", "yuv420p"),
    "a.webm": ("libvpx", "yuv420p"),
    "a.mov": ("mjpeg", "yuvj420p"),
    "a.gif": ("gif", "rgb8"),
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


def decoded(path: Path) -> NDArray[np.uint8]:
    """Decodes a file from its start with PyAV alone."""
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


@pytest.mark.parametrize("name", KINDS)
def test_any_frame_is_the_one_of_decoding_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(video_file, "_KEYS", 1)
    frames = moving_square(45)
    encode(tmp_path / name, frames, *KINDS[name])
    expected = decoded(tmp_path / name)
    video = open_video(tmp_path / name)
    assert (video.length, video.height, video.width) == (45, 24, 32)
    np.testing.assert_array_equal(np.stack([*video.frames()]), expected)
    for first in (1, 9, 10, 11, 29, 44):
        found = np.stack([*video.frames(first, min(2, 45 - first))])
        np.testing.assert_array_equal(found, expected[first : first + 2], err_msg=str(first))
    assert [*video.frames(45)] == []
    # The codecs are lossy, but the square is where it was.
    assert np.abs(expected.astype(float) - frames).mean() < 25


def test_decoding_begins_at_a_key_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_file, "_KEYS", 1)
    encode(tmp_path / "a.mp4", moving_square(45))
    video = open_video(tmp_path / "a.mp4")
    count = 0
    original = video_file._check_frame

    def counting(*args: object) -> None:
        nonlocal count
        count += 1
        original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(video_file, "_check_frame", counting)
    assert len([*video.frames(42, 1)]) == 1
    assert count <= 10  # the distance of two key frames, instead of 43


def test_gray_video_has_one_channel(tmp_path: Path) -> None:
    encode(tmp_path / "a.mkv", moving_square(3), "ffv1", "gray")
    (first, *_) = open_video(tmp_path / "a.mkv").frames()
    assert first.shape == (24, 32, 1)
    assert first[0, 0] == 0


def test_length_is_counted_again_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    encode(path, moving_square(5))
    one = open_video(path)
    encode(path, moving_square(8))
    other = open_video(path)
    assert (one.length, other.length) == (5, 8)
    assert one.key() != other.key()


@pytest.mark.parametrize("name", KINDS)
def test_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    encode(path, moving_square(20), *KINDS[name])
    data = path.read_bytes()
    for share in (0.0, 0.3, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match=rf"{name}.*: expected a (complete )?(video|frame)"):
            open_video(path)


def read(path: Path) -> str | None:
    """Reads all frames, and returns the message of the error if there is one."""
    try:
        video = open_video(path)
        assert len([*video.frames()]) == video.length
    except InputError as error:
        return str(error)
    return None


def test_mutated_files_raise_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    encode(path, moving_square(6))
    data = path.read_bytes()
    refused = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        changed = bytearray(data)
        start = int(rng.integers(len(data) - 8))
        if seed % 3 == 0:
            changed[start : start + 16] = rng.bytes(16)
        elif seed % 3 == 1:
            del changed[start : start + 8]
        else:
            for place in rng.integers(0, len(data), 4):
                changed[place] = rng.integers(256)
        mutated = tmp_path / f"{seed}.mp4"
        mutated.write_bytes(changed)
        message = read(mutated)
        refused += message is not None
        assert message is None or message.startswith(str(mutated))
    assert refused > 25


def _text(path: Path) -> None:
    path.write_text("no video\n" * 100)


def _list(path: Path) -> None:
    # FFmpeg would read the other file in place of this one.
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")


def _sound(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), dtype=np.float32), format="fltp", layout="mono"
        )
        silence.sample_rate = 8000
        for packet in [*stream.encode(silence), *stream.encode()]:
            file.mux(packet)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_text, "expected a video that PyAV can decode, got: Invalid"),
        (_list, "expected a video that PyAV can decode, got: Invalid"),
        (_sound, "expected a video, got audio alone"),
        (Path.touch, "expected a video that PyAV can decode, got: Invalid"),
    ],
)
def test_file_that_is_no_video(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    encode(tmp_path / "secret.mp4", moving_square(2))
    make(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=message):
        open_video(tmp_path / "a.mp4")


def test_frames_of_another_size(tmp_path: Path) -> None:
    # Two MJPEG streams one after the other are a stream whose frames change their size.
    for name, size in (("one", (24, 32)), ("two", (48, 64))):
        encode(tmp_path / f"{name}.avi", moving_square(3, *size), "mjpeg", "yuvj420p")
    packets = []
    for name in ("one", "two"):
        with av.open(str(tmp_path / f"{name}.avi")) as file:
            packets += [bytes(packet) for packet in file.demux(video=0) if packet.size]
    with av.open(str(tmp_path / "a.avi"), "w") as file:
        stream = file.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = 24, 32, "yuvj420p"
        for i, data in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts = stream, i, i
            packet.time_base = Fraction(1, 10)
            file.mux(packet)
    with pytest.raises(InputError, match=r"frame 3: expected frames of 32 x 24 .* got 64 x 48"):
        open_video(tmp_path / "a.avi")


def test_size_of_a_frame_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(tmp_path / "a.mp4", moving_square(2))
    monkeypatch.setattr("srulight.video.sources.LARGEST_FRAME", 700)
    with pytest.raises(InputError, match=r"expected frames of 1 to 700 pixels, got 32 x 24"):
        open_video(tmp_path / "a.mp4")


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r'pip install "srulight\[video\]"'):
        open_video(tmp_path / "a.mp4")


def test_several_videos_with_one_damaged(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", moving_square(2))
    (tmp_path / "b.mp4").write_bytes(b"x")
    paths = [tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4", "d.txt")]
    a, b, c, d = open_videos(paths).values()
    assert not isinstance(a, InputError)
    assert a.length == 2
    assert "b.mp4: expected a video" in str(b)
    assert "c.mp4 is not in" in str(c)
    assert "d.txt is not in" in str(d)


def test_damaged_video_writes_nothing_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    encode(tmp_path / "a.mp4", moving_square(12))
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = b"x" * 40
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(InputError):
        open_video(tmp_path / "a.mp4")
    assert capfd.readouterr() == ("", "")
