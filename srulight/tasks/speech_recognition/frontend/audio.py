"""Sound from files and pipes, whole or as it comes, at the sample rate that a model wants."""

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
_SLOWEST, _FASTEST = 1_000, 1_000_000  # Hz, of files
_SECONDS = 10.0  # decoded at a time where nobody asks for less
_UNKNOWN_FRAMES = 1 << 62


class AudioInfo(NamedTuple):
    """What a file of sound holds.

    Attributes:
        samples: Samples of each channel, at the rate of the file.
        sample_rate: Of the file, in Hz.
        sha256: Of the bytes of the file, as hexadecimal digits.
    """

    samples: int
    sample_rate: int
    sha256: str


def read_audio(path: Path, sample_rate: int, channels: Channels = "refuse") -> Tensor:
    """Reads all of a file: WAV, FLAC, OGG, NIST SPHERE, and what else libsndfile decodes.

    A file that was cut is refused where this can tell: WAV, AIFF, AU and NIST promise their size,
    OGG marks its end, FLAC and most MP3 count their samples. A size of 2 GB and more, which
    programs write into a pipe, is no promise; nor is a WAV's size of 0, if samples follow.

    Args:
        path: The file.
        sample_rate: To bring it to, in Hz.
        channels: What to do if there are several: ``refuse``, or ``mix``, which takes their mean.

    Returns:
        Samples, those of integers -1 to 1, (N,) float32; N is ``resampled_length`` of the file's.

    Raises:
        InputError: If the file is missing, is not audio, is truncated or damaged, has no samples,
            has some that are not finite, has several channels that may not be mixed, or says a
            rate that no sound has.
    """
    return torch.cat(list(audio_blocks(path, sample_rate, channels, _SECONDS)))


def audio_blocks(
    path: Path, sample_rate: int, channels: Channels, seconds: float
) -> Iterator[Tensor]:
    """Reads a file as it goes: the samples of ``read_audio``, bit for bit, in blocks.

    Args:
        path: The file.
        sample_rate: To bring it to, in Hz.
        channels: What to do if there are several, as in ``read_audio``.
        seconds: Length of a block; about that, if the rate of the file is another.

    Yields:
        Samples, (N,) float32.

    Raises:
        InputError: As ``read_audio``, but what is wrong further on in the file is found after the
            blocks before it were given.
    """
    yield from _resampled(_decoded(path, channels, seconds), sample_rate)


def inspect(path: Path, channels: Channels = "refuse") -> AudioInfo:
    """Decodes a whole file, of which it holds little at a time, and says what it holds.

    Args:
        path: The file.
        channels: What to do if there are several, as in ``read_audio``.

    Raises:
        InputError: If ``read_audio`` would.
    """
    blocks = [(len(block), rate) for block, rate in _decoded(path, channels, _SECONDS)]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return AudioInfo(sum(size for size, _ in blocks), blocks[0][1], digest)


def pcm_blocks(stream: BinaryIO, rate: int, sample_rate: int, seconds: float) -> Iterator[Tensor]:
    """Reads samples without a header, 16-bit little-endian mono, from a pipe as they come.

    Args:
        stream: Bytes; one that blocks until there are some. What has come is handed on at once.
        rate: Samples in a second of the stream, in Hz.
        sample_rate: To bring them to, in Hz.
        seconds: Length of the longest block.

    Yields:
        Samples, -1 to 1, (N,) float32; of a stream at another rate about 0.1 seconds late, which
        resampling needs.

    Raises:
        InputError: If the stream ends within a sample, after the blocks before it were given.
    """
    yield from _resampled(_pcm(stream, rate, seconds), sample_rate)


def resampled_length(samples: int, rate: int, new_rate: int) -> int:
    """Counts the samples that samples become at another rate.

    Args:
        samples: Samples that there are.
        rate: Their rate, in Hz.
        new_rate: The other rate, in Hz.

    Returns:
        The nearest whole number of samples, the larger of two.
    """
    return (2 * samples * new_rate + rate) // (2 * rate)


def length_after_speed(samples: int, speed: float) -> int:
    """Counts the samples that ``change_speed`` makes.

    Args:
        samples: Samples that there are.
        speed: How many times as fast, above 0.
    """
    return int(samples / speed + 0.5)


def change_speed(samples: Tensor, speed: float) -> Tensor:
    """Plays sound faster or slower, which also makes it higher or lower, by resampling.

    Args:
        samples: Sound, (N,) float32.
        speed: How many times as fast, above 0; 1 returns the samples themselves.

    Returns:
        Sound, (N',) float32; N' is ``length_after_speed(N, speed)``.

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
    except (ImportError, OSError) as error:  # soundfile raises the latter without its library
        raise InputError(f'reading audio needs {name}: pip install "srulight[speech]"') from error


def _resampled(blocks: Iterator[_Block], new_rate: int) -> Iterator[Tensor]:
    stream = None
    taken = given = rate = 0
    for samples, rate in blocks:
        if min(rate, new_rate) < 1:
            raise InputError(f"sample rates must be at least 1 Hz, got {rate} and {new_rate}")
        if rate == new_rate:
            yield samples
            continue
        # What it makes does not depend on where blocks end.
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
        raise InputError(f"the seconds of a block must be above 0, got {seconds}")
    return max(1, round(seconds * rate))


def _pcm(stream: BinaryIO, rate: int, seconds: float) -> Iterator[_Block]:
    size = 2 * _block_size(seconds, rate)
    # A plain read of a buffered stream would wait until there are so many bytes.
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
        raise InputError("the stream ended within a sample; 16-bit PCM has two bytes a sample")


def _decoded(path: Path, channels: Channels, seconds: float) -> Iterator[_Block]:
    soundfile = _imported("soundfile")
    try:
        with path.open("rb", buffering=0) as file, open_sound(soundfile, file) as sound:
            rate: int = sound.samplerate
            if not _SLOWEST <= rate <= _FASTEST:
                raise InputError(
                    f"{path} says {rate} samples per second; expected {_SLOWEST:,} to "
                    f"{_FASTEST:,} Hz"
                )
            if sound.channels > 1 and channels == "refuse":
                raise InputError(
                    f"{path} has {sound.channels} channels, not one; channels=mix takes their mean"
                )
            size = _block_size(seconds, rate)
            # Else it seeks after each read, from which MP3 and Opus do not recover.
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
                    raise InputError(f"{path} has samples that are not finite numbers")
                yield samples, rate
            if done < sound.frames < _UNKNOWN_FRAMES:
                raise InputError(f"{path} is truncated: it has {done} of {sound.frames} samples")
            # A frame follows those that were counted.
            if sound.format == "MP3" and file.read(1) == b"\xff":
                raise InputError(f"{path} does not say how long it is; convert it to FLAC")
        if not done:
            raise InputError(f"{path} has no samples")
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror}") from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise InputError(f"{path} is not audio, or is truncated or damaged: {reason}") from error
