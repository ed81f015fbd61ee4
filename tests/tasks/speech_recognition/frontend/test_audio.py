"""Audio files are read completely or refused, and streaming yields the same samples."""

import hashlib
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.frontend.audio import (
    audio_blocks,
    change_speed,
    inspect,
    length_after_speed,
    pcm_blocks,
    read_audio,
    resampled_length,
)

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "u8.wav": ("WAV", "PCM_U8"),
    "float.wav": ("WAV", "FLOAT"),
    "extensible.wav": ("WAVEX", "PCM_24"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "sph": ("NIST", "PCM_16"),
    "ulaw.sph": ("NIST", "ULAW"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
LENGTH = 16001


def tone(length: int, rate: int = 16000, hertz: float = 440.0) -> Tensor:
    return 0.5 * torch.sin(2 * torch.pi * hertz / rate * torch.arange(length))


def write(path: Path, samples: Tensor, rate: int = 16000, name: str = "wav") -> Path:
    kind, subtype = FORMATS[name]
    soundfile.write(path, samples.numpy(), rate, subtype, format=kind)
    return path


@pytest.fixture(params=FORMATS)
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Writes a tone in each format."""
    return write(tmp_path / f"tone.{request.param}", tone(LENGTH), name=request.param)


def cut(path: Path, taken: int) -> Path:
    path.write_bytes(path.read_bytes()[:-taken])
    return path


def patch(path: Path, position: int, data: bytes) -> Path:
    whole = bytearray(path.read_bytes())
    whole[position : position + len(data)] = data
    path.write_bytes(whole)
    return path


def test_reads_what_was_written(recording: Path) -> None:
    samples = read_audio(recording, 16000)
    whole, _ = soundfile.read(recording, dtype="float32")
    torch.testing.assert_close(samples, torch.from_numpy(whole), rtol=0, atol=1e-6)
    middle = slice(2000, -2000)
    torch.testing.assert_close(samples[:LENGTH][middle], tone(LENGTH)[middle], rtol=0, atol=0.05)


@pytest.mark.parametrize("seconds", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("rate", [16000, 8000, 22050])
def test_blocks_are_the_samples_of_the_whole(recording: Path, rate: int, seconds: float) -> None:
    blocks = list(audio_blocks(recording, rate, "refuse", seconds))
    assert torch.equal(torch.cat(blocks), read_audio(recording, rate))


def test_blocks_are_as_long_as_asked_for(recording: Path) -> None:
    blocks = list(audio_blocks(recording, 16000, "refuse", 0.25))
    assert {len(block) for block in blocks[:-1]} == {4000}
    assert 0 < len(blocks[-1]) <= 4000


def test_a_block_comes_before_the_rest_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(LENGTH))
    blocks = audio_blocks(path, 8000, "refuse", 0.25)
    assert 0 < len(next(blocks)) < 2100


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
@pytest.mark.parametrize("length", [1, 2, 999, 4001])
def test_resampling_is_that_of_soxr_and_as_long_as_said(
    tmp_path: Path, rate: int, length: int
) -> None:
    path = write(tmp_path / "a.wav", torch.randn(length).clamp(-1, 1), rate, "float.wav")
    samples = read_audio(path, 16000)
    assert len(samples) == resampled_length(length, rate, 16000)
    whole, _ = soundfile.read(path, dtype="float32")
    assert np.array_equal(samples.numpy(), soxr.resample(whole, rate, 16000))


def test_resampling_keeps_the_pitch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(8000, rate=8000), 8000, "float.wav")
    middle = slice(1000, -1000)
    resampled = read_audio(path, 16000)
    torch.testing.assert_close(resampled[middle], tone(16000)[middle], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("samples", "rate", "new_rate", "expected"),
    [
        (3, 2, 1, 2),
        (5, 2, 1, 3),
        (1, 3, 1, 0),
        (2, 3, 1, 1),
        (441, 44100, 16000, 160),
        (0, 1, 2, 0),
    ],
)
def test_resampled_length_is_the_nearest(
    samples: int, rate: int, new_rate: int, expected: int
) -> None:
    assert resampled_length(samples, rate, new_rate) == expected


def test_several_channels_are_refused_or_mixed(tmp_path: Path) -> None:
    left, right = tone(100), tone(100, hertz=1000)
    path = write(tmp_path / "a.wav", torch.stack((left, right), dim=1), name="float.wav")
    with pytest.raises(InputError, match=r"a\.wav: expected one channel, got 2; set channels=mix"):
        read_audio(path, 16000)
    torch.testing.assert_close(read_audio(path, 16000, "mix"), (left + right) / 2)


@pytest.mark.parametrize("taken", [2, 100, 0.5, 0.99])
def test_a_file_that_was_cut_is_refused(recording: Path, taken: float) -> None:
    size = recording.stat().st_size
    cut(recording, int(taken if taken >= 1 else taken * size))
    for read in (lambda: read_audio(recording, 16000), lambda: inspect(recording)):
        with pytest.raises(InputError, match=rf"{recording.name}: expected .*(truncated|damaged)"):
            read()


def test_an_ogg_file_cut_between_pages_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ogg", torch.randn(LENGTH).clamp(-1, 1) / 2, name="ogg")
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"OggS")])
    assert len(read_audio_without_check(path)) < LENGTH
    with pytest.raises(InputError, match="is truncated"):
        read_audio(path, 16000)


def read_audio_without_check(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return soundfile.read(path)[0]


def test_padding_is_not_missed(tmp_path: Path) -> None:
    path = cut(write(tmp_path / "a.wav", tone(LENGTH), name="u8.wav"), 1)
    assert len(read_audio(path, 16000)) == LENGTH


def test_samples_may_stand_among_other_chunks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(100))
    data = path.read_bytes()
    chunk = b"LIST\x03\0\0\0abc\0"  # padded to an even length
    path.write_bytes(data[:36] + chunk + data[36:] + chunk)
    assert len(read_audio(path, 16000)) == 100
    path.write_bytes(data[:36] + chunk + data[36:-2])
    with pytest.raises(InputError, match="is truncated"):
        read_audio(path, 16000)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x80000000])
def test_a_header_from_a_pipe_promises_nothing(tmp_path: Path, size: int) -> None:
    path = patch(write(tmp_path / "a.wav", tone(100)), 40, size.to_bytes(4, "little"))
    assert len(read_audio(path, 16000)) == 100


def test_a_flac_file_from_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone(LENGTH), name="flac")
    count = path.read_bytes()[21:26]  # 36 bits
    assert int.from_bytes(count) & (1 << 36) - 1 == LENGTH
    patch(path, 21, bytes([count[0] & 0xF0, 0, 0, 0, 0]))
    assert len(read_audio(path, 16000)) == LENGTH
    with pytest.raises(InputError, match="truncated, damaged or unknown"):
        read_audio(cut(path, 10), 16000)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", torch.randn(LENGTH).clamp(-1, 1), name="flac")
    with pytest.raises(InputError, match="truncated, damaged or unknown"):
        read_audio(patch(path, 9000, bytes(20)), 16000)


def test_an_mp3_that_does_not_know_its_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    samples = torch.randn(LENGTH) * torch.linspace(0.5, 0, LENGTH) ** 4
    with soundfile.SoundFile(path, "w", 16000, 1, format="MP3", bitrate_mode="VARIABLE") as file:
        file.write(samples.numpy())
    data = path.read_bytes()
    assert b"Xing" in data[:100]
    path.write_bytes(data[data.index(data[:2], 4) :])
    with pytest.raises(
        InputError, match="expected an MP3 that states its length; convert it to FLAC"
    ):
        read_audio(path, 16000)


@pytest.mark.parametrize("name", ["wav", "aiff", "sph", "ogg"])
def test_a_file_without_samples_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a", torch.zeros(0), name=name)
    with pytest.raises(InputError, match=r"a: expected audio, got no samples"):
        read_audio(path, 16000)


@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a.flac"])
@pytest.mark.parametrize("data", [b"", b"hello", b"RIFF", b"OggS", b"NIST_1A\n", bytes(5000)])
def test_what_is_not_audio_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}: expected .*(truncated|damaged)"):
        read_audio(path, 16000)


@pytest.mark.parametrize("whole", [b"", b"\0\0\0\0", b"\x24\0\0\0"])
@pytest.mark.parametrize("end", [b"", b"\x01"])
def test_an_unfinished_recording_is_read_to_its_end(
    tmp_path: Path, whole: bytes, end: bytes
) -> None:
    path = write(tmp_path / "a.wav", tone(1000))
    wanted = read_audio(path, 16000)
    patch(path, 40, bytes(4))
    patch(path, 4, whole)
    path.write_bytes(path.read_bytes() + end)
    before = path.read_bytes()
    assert torch.equal(read_audio(path, 16000), wanted)
    assert path.read_bytes() == before
    assert inspect(path).samples == 1000


def test_a_recording_without_samples_stays_without(tmp_path: Path) -> None:
    path = cut(write(tmp_path / "a.wav", tone(1000)), 2000)
    patch(path, 40, bytes(4))
    for after in (b"", b"LIST\4\0\0\0abcd"):
        path.write_bytes(path.read_bytes() + after)
        with pytest.raises(InputError, match="got no samples"):
            read_audio(path, 16000)


@pytest.mark.parametrize("rate", [1, 999, 1_000_001])
def test_a_rate_that_no_sound_has_is_refused(tmp_path: Path, rate: int) -> None:
    path = patch(write(tmp_path / "a.wav", tone(1000)), 24, rate.to_bytes(4, "little"))
    with pytest.raises(InputError, match=rf"a\.wav: expected a sample rate of .*, got {rate}"):
        inspect(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.wav: expected an audio file, got: No such file"):
        read_audio(tmp_path / "a.wav", 16000)
    with pytest.raises(InputError, match="expected an audio file, got: Is a directory"):
        read_audio(tmp_path, 16000)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    path = write(tmp_path / "a.wav", torch.tensor([0.0, value]), name="float.wav")
    with pytest.raises(InputError, match=r"a\.wav: expected finite samples"):
        inspect(path)


def test_inspecting_tells_what_a_file_holds(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone(1234), 8000, "flac")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert inspect(path) == (1234, 8000, digest)


def test_speed_shortens_and_raises_sound() -> None:
    fast = change_speed(tone(16000), 1.1)
    assert len(fast) == length_after_speed(16000, 1.1) == 14545
    middle = slice(1000, -1000)
    torch.testing.assert_close(fast[middle], tone(14545, hertz=484)[middle], rtol=0, atol=1e-3)


@pytest.mark.parametrize("speed", [0.5, 0.9, 1.1, 1.037])
@pytest.mark.parametrize("length", [0, 1, 2, 1003])
def test_sped_sound_is_as_long_as_said(length: int, speed: float) -> None:
    assert len(change_speed(torch.randn(length), speed)) == length_after_speed(length, speed)


def test_a_speed_of_one_changes_nothing() -> None:
    samples = tone(10)
    assert change_speed(samples, 1.0) is samples


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(InputError, match="speed must be above 0, got"):
        change_speed(tone(10), speed)


class Trickle(io.RawIOBase):
    """A pipe that returns few bytes per read."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.data.read(min(size, 7))


@pytest.mark.parametrize("stream", [io.BytesIO, Trickle])
@pytest.mark.parametrize("rate", [16000, 8000])
def test_a_stream_of_samples_is_read_as_a_file_is(
    tmp_path: Path, rate: int, stream: type[io.BytesIO]
) -> None:
    path = write(tmp_path / "a.wav", torch.randn(1001).clamp(-1, 1))
    blocks = list(pcm_blocks(stream(path.read_bytes()[44:]), 16000, rate, 0.01))
    assert torch.equal(torch.cat(blocks), read_audio(path, rate))
    assert max(len(block) for block in blocks) <= max(160, len(blocks[-1]))


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_live_pipe_is_not_waited_for(buffering: int) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering) as stream, os.fdopen(writing, "wb", 0) as pipe:
        blocks = pcm_blocks(stream, 16000, 16000, 10.0)
        pipe.write(b"\x00\x40\x00")
        assert next(blocks).tolist() == [0.5]
        pipe.write(b"\xc0")
        assert next(blocks).tolist() == [-0.5]
        pipe.close()
        assert list(blocks) == []


def test_half_a_sample_at_the_end_is_refused() -> None:
    blocks = pcm_blocks(io.BytesIO(b"\0\0\0"), 16000, 16000, 1.0)
    assert next(blocks).tolist() == [0]
    with pytest.raises(InputError, match="expected 16-bit PCM, got an odd number of bytes"):
        next(blocks)


@pytest.mark.parametrize("name", ["soundfile", "soxr"])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = write(tmp_path / "a.wav", tone(100))
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        InputError, match=rf'needs the package {name}; run pip install "srulight\[speech\]"'
    ):
        read_audio(path, 8000)


def test_numbers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(100))
    with pytest.raises(InputError, match="sample_rate must be at least 1 Hz, got 16000 and 0"):
        read_audio(path, 0)
    with pytest.raises(InputError, match="duration of a block must be above 0 seconds, got 0"):
        next(audio_blocks(path, 16000, "refuse", 0))
    with pytest.raises(InputError, match="sample_rate must be at least 1 Hz, got 0 and 16000"):
        next(pcm_blocks(io.BytesIO(b"\0\0"), 0, 16000, 1.0))
