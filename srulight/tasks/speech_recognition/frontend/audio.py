"""Decodes audio from files and pipes, whole or in blocks, at the sample rate of a model."""

import hashlib
import importlib
import io
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.frontend.sound_headers import open_sound

Channels = Literal["refuse", "mix"]

_Block = tuple[Tensor, int]  # samples, (N,) float32, and their rate in Hz
_SLOWEST, _FASTEST = 1_000, 1_000_000  # plausible sample rates of files, in Hz
_SECONDS = 10.0  # default duration of a block
_UNKNOWN_FRAMES = 1 << 62


class AudioInfo(NamedTuple):
    """Properties of an audio file.

    Attributes:
        samples: Number of samples per channel, at the sample rate of the file.
        sample_rate: Sample rate of the file, in Hz.
        sha256: SHA-256 checksum of the file, in hexadecimal.
    """

    samples: int
    sample_rate: int
    sha256: str


def read_audio(path: Path, sample_rate: int, channels: Channels = "refuse") -> Tensor:
    """Reads a whole file in WAV, FLAC, OGG, NIST SPHERE or another format of libsndfile.

    A truncated file is refused if the format reveals it: WAV, AIFF, AU and NIST state their size,
    OGG marks its end, and FLAC and most MP3 files count their samples. A stated size of 2 GB or
    more is ignored, because programs write it into pipes; so is a WAV size of 0 if samples follow.

    Args:
        path: The file.
        sample_rate: Sample rate of the result, in Hz.
        channels: What to do with several channels: "refuse" the file, or "mix" them by taking their
            mean.

    Returns:
        Samples, (N,) float32, where N is ``resampled_length`` of the samples in the file. Integer
        samples are scaled to -1 to 1.

    Raises:
        InputError: If the file is missing, truncated, damaged or not audio, has no samples, has
            samples that are not finite, has several channels that may not be mixed, or states an
            implausible sample rate.
    """
    return torch.cat(list(audio_blocks(path, sample_rate, channels, _SECONDS)))


def audio_blocks(
    path: Path, sample_rate: int, channels: Channels, seconds: float
) -> Iterator[Tensor]:
    """Reads a file block by block; the samples are those of ``read_audio``, bit for bit.

    Args:
        path: The file.
        sample_rate: Sample rate of the result, in Hz.
        channels: What to do with several channels, as in ``read_audio``.
        seconds: Duration of a block, in seconds; approximate if the file is resampled.

    Yields:
        Samples, (N,) float32.

    Raises:
        InputError: As in ``read_audio``. A fault later in the file is raised after the blocks
            before it were yielded.
    """
    yield from _resampled(_decoded(path, channels, seconds), sample_rate)


def inspect(path: Path, channels: Channels = "refuse") -> AudioInfo:
    """Decodes a whole file block by block and returns its properties.

    Args:
        path: The file.
        channels: What to do with several channels, as in ``read_audio``.

    Returns:
        The properties of the file.

    Raises:
        InputError: As in ``read_audio``.
    """
    blocks = [(len(block), rate) for block, rate in _decoded(path, channels, _SECONDS)]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return AudioInfo(sum(size for size, _ in blocks), blocks[0][1], digest)


def pcm_blocks(stream: BinaryIO, rate: int, sample_rate: int, seconds: float) -> Iterator[Tensor]:
    """Reads raw 16-bit little-endian mono PCM from a pipe as it arrives.

    Args:
        stream: Binary stream that blocks until it has data. Available data is yielded immediately.
        rate: Sample rate of the stream, in Hz.
        sample_rate: Sample rate of the result, in Hz.
        seconds: Maximal duration of a block, in seconds.

    Yields:
        Samples from -1 to 1, (N,) float32. Resampling delays them by about 0.1 s.

    Raises:
        InputError: If the stream ends in the middle of a sample, after all complete samples were
            yielded.
    """
    yield from _resampled(_pcm(stream, rate, seconds), sample_rate)


def resampled_length(samples: int, rate: int, new_rate: int) -> int:
    """Computes the number of samples after resampling.

    Args:
        samples: Number of samples before.
        rate: Sample rate before, in Hz.
        new_rate: Sample rate after, in Hz.

    Returns:
        Number of samples after resampling, rounded half up.
    """
    return (2 * samples * new_rate + rate) // (2 * rate)


def length_after_speed(samples: int, speed: float) -> int:
    """Computes the number of samples after ``change_speed``.

    Args:
        samples: Number of samples before.
        speed: Playback speed, above 0; 2 halves the duration.

    Returns:
        Number of samples after the change.
    """
    return int(samples / speed + 0.5)


def change_speed(samples: Tensor, speed: float) -> Tensor:
    """Changes the playback speed by resampling, which also shifts the pitch.

    Args:
        samples: Samples, (N,) float32.
        speed: Playback speed, above 0; 2 halves the duration. 1 returns ``samples`` itself.

    Returns:
        Samples, (N',) float32, where N' is ``length_after_speed(N, speed)``.

    Raises:
        InputError: If ``speed`` is not above 0.
    """
    if not speed > 0:
        raise InputError(f"speed must be above 0, got {speed}")
    if speed == 1:
        return samples
    sped = torch.from_numpy(_imported("soxr").resample(samples.numpy(), speed, 1.0))
    return F.pad(sped, (0, length_after_speed(len(samples), speed) - len(sped)))


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # soundfile raises OSError if libsndfile is missing
        raise InputError(
            f'reading audio needs the package {name}; run pip install "srulight[speech]"'
        ) from error


def _resampled(blocks: Iterator[_Block], new_rate: int) -> Iterator[Tensor]:
    stream = None
    taken = given = rate = 0
    for samples, rate in blocks:
        if min(rate, new_rate) < 1:
            raise InputError(f"sample_rate must be at least 1 Hz, got {rate} and {new_rate}")
        if rate == new_rate:
            yield samples
            continue
        # The resampler is stateful, so its output does not depend on the block boundaries.
        stream = stream or _imported("soxr").ResampleStream(rate, new_rate, 1)
        resampled = torch.from_numpy(stream.resample_chunk(samples.numpy()))
        taken += len(samples)
        given += len(resampled)
        if len(resampled):
            yield resampled
    if stream:
        rest = torch.from_numpy(stream.resample_chunk(samples[:0].numpy(), last=True))
        yield F.pad(rest, (0, resampled_length(taken, rate, new_rate) - given - len(rest)))


def _block_size(seconds: float, rate: int) -> int:
    if not seconds > 0:
        raise InputError(f"the duration of a block must be above 0 seconds, got {seconds}")
    return max(1, round(seconds * rate))


def _pcm(stream: BinaryIO, rate: int, seconds: float) -> Iterator[_Block]:
    size = 2 * _block_size(seconds, rate)
    # read() of a buffered stream would wait until a whole block has arrived.
    read = stream.read1 if isinstance(stream, io.BufferedIOBase) else stream.read
    data = b""
    while more := read(size - len(data)):
        data += more
        whole = len(data) // 2 * 2
        if whole:
            samples = torch.frombuffer(bytearray(data[:whole]), dtype=torch.int16)
            yield samples.float() / 32768, rate
        data = data[whole:]
    if data:
        raise InputError(
            "standard input: expected 16-bit PCM, got an odd number of bytes; check the format"
        )


def _decoded(path: Path, channels: Channels, seconds: float) -> Iterator[_Block]:
    soundfile = _imported("soundfile")
    try:
        with path.open("rb", buffering=0) as file, open_sound(soundfile, file) as sound:
            rate: int = sound.samplerate
            if not _SLOWEST <= rate <= _FASTEST:
                raise InputError(
                    f"{path}: expected a sample rate of {_SLOWEST:,} to {_FASTEST:,} Hz, got {rate}"
                )
            if sound.channels > 1 and channels == "refuse":
                raise InputError(
                    f"{path}: expected one channel, got {sound.channels}; set channels=mix to use "
                    "their mean"
                )
            size = _block_size(seconds, rate)
            # soundfile seeks after each read of a seekable file, which breaks MP3 and Opus.
            sound.seekable = lambda: False
            done = 0
            while count := min(size, sound.frames - done):
                read = sound.read(count, dtype="float32", always_2d=True)
                read = read[:, 0] if sound.channels == 1 else read.mean(axis=1)
                samples = torch.from_numpy(read)
                done += len(samples)
                if not len(samples):
                    break
                if not samples.isfinite().all():
                    raise InputError(f"{path}: expected finite samples, got infinity or NaN")
                yield samples, rate
            if done < sound.frames < _UNKNOWN_FRAMES:
                raise InputError(
                    f"{path}: expected {sound.frames:,} samples, got {done:,}: the file is "
                    "truncated"
                )
            # Another MP3 frame follows the counted ones.
            if sound.format == "MP3" and file.read(1) == b"\xff":
                raise InputError(
                    f"{path}: expected an MP3 that states its length; convert it to FLAC"
                )
        if not done:
            raise InputError(f"{path}: expected audio, got no samples")
    except OSError as error:
        raise InputError(f"{path}: expected an audio file, got: {error.strerror}") from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise InputError(
            f"{path}: expected audio, got a truncated, damaged or unknown file: {reason}"
        ) from error
