"""Transcription on the command line: of files as JSON lines, or of a live stream."""

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from srulight.runtime.errors import InputError, check_range
from srulight.tasks.prediction import Predictor, one_input, pieces
from srulight.tasks.speech_recognition.ctc.base import Token
from srulight.tasks.speech_recognition.frontend.audio import Channels, audio_blocks, pcm_blocks
from srulight.tasks.speech_recognition.transcript import Transcript

if TYPE_CHECKING:
    from srulight.tasks.speech_recognition.task import SpeechRecognition

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".au", ".sph", ".npy")


class SpeechPredictor(Predictor):
    """Transcribes recordings and writes one JSON object per line.

    Each object has the keys audio (the file), text, seconds (the duration), and tokens with their
    start and end in seconds; or audio and error if the file cannot be read. With --stream=true,
    srulight reads a single recording chunk by chunk and prints words as it recognizes them.

    Args:
        batch_size: Number of recordings per batch.
        channels: What to do with a recording of several channels: "refuse" it, or "mix" the
            channels by taking their mean. The default is the checkpoint's setting.
        beam_size: Number of hypotheses that beam search keeps; 1 takes the most probable token at
            each step. The default is the checkpoint's setting.
        language_model: ARPA file (plain or .gz) of an n-gram language model of words. It needs a
            beam_size above 1. The default is the checkpoint's setting.
        language_weight: Weight of the language model's log-probabilities, 0 or more. The default is
            the checkpoint's setting.
        word_bonus: Score added for each word of a hypothesis, in nats, -1000 to 1000. The default
            is the checkpoint's setting.
        stream: Whether to transcribe one recording chunk by chunk: a file, or 16-bit little-endian
            mono PCM on standard input.
        chunk: Duration of a chunk in seconds, for --stream=true. The default is 0.1.
        sample_rate: Sample rate of standard input in Hz, for --stream=true. The default is the rate
            that the model was trained on.
    """

    inputs: ClassVar = (
        "audio files and folders of them; with --stream=true, one file, or - for PCM on standard "
        "input"
    )

    def __init__(
        self,
        batch_size: int = 64,
        channels: Channels | None = None,
        beam_size: int | None = None,
        language_model: str | None = None,
        language_weight: float | None = None,
        word_bonus: float | None = None,
        stream: bool = False,
        chunk: float | None = None,
        sample_rate: int | None = None,
    ) -> None:
        check_range(1, batch_size=batch_size, beam_size=beam_size, sample_rate=sample_rate)
        if chunk is not None and not 0 < chunk < math.inf:
            raise InputError(f"chunk must be a number of seconds above 0, got {chunk}")
        if not stream and (chunk is not None or sample_rate is not None):
            raise InputError("chunk and sample_rate need streaming; pass --stream=true")
        given: dict[str, Any] = {
            "beam_size": beam_size, "language_model": language_model,
            "language_weight": language_weight, "word_bonus": word_bonus,
        }  # fmt: skip
        self.decoder = {name: value for name, value in given.items() if value is not None}
        if beam_size == 1:  # The checkpoint may have a language model, which needs a larger beam.
            self.decoder = {"language_model": None, "word_bonus": 0.0, **self.decoder}
        self.batch_size = batch_size
        self.channels = channels
        self.stream = stream
        self.chunk = chunk or 0.1
        self.sample_rate = sample_rate
        self._failures = 0

    def run(self, task: "SpeechRecognition", inputs: list[str], output: str) -> None:
        task.decode_with(**self.decoder)
        if "language_weight" in self.decoder and task.decoder.language_model is None:
            raise InputError("language_weight needs a language model; pass --language_model=FILE")
        if self.channels is not None:
            task.frontend.channels = self.channels
        if self.stream:
            if output != "-":
                raise InputError("--stream=true writes to standard output; remove --output")
            print_stream(task, one_input(inputs, "file"), self.chunk, self.sample_rate)
            return
        super().run(task, inputs, output)
        if self._failures:
            raise InputError(
                f"could not read {self._failures:,} of the recordings; see 'error' in their lines "
                "of the output"
            )

    def answers(self, task: "SpeechRecognition", inputs: list[str]) -> Iterator[str]:
        if inputs == ["-"]:
            raise InputError(
                "expected recordings; pass --input with files or folders, or --stream=true to read "
                "PCM from standard input"
            )
        for row in transcribe(task, inputs, self.batch_size):
            self._failures += "error" in row
            yield json.dumps(row, ensure_ascii=False) + "\n"


def transcribe(
    task: "SpeechRecognition", inputs: Sequence[str], batch_size: int
) -> Iterator[dict[str, object]]:
    """Transcribes recordings.

    Args:
        task: The speech recognizer.
        inputs: Audio files, and folders of audio files.
        batch_size: Number of recordings per batch.

    Yields:
        For each recording a dictionary of plain data, with an ``error`` instead of a transcript if
        the file cannot be read.

    Raises:
        InputError: If a folder holds no recordings.
    """
    paths = [path for name in inputs for path in recordings_in(Path(name))]
    for piece in pieces(paths, batch_size, "transcribing"):
        try:
            transcripts = task.predict(piece, batch_size)
            found = [_row(p, t) for p, t in zip(piece, transcripts, strict=True)]
        except InputError:
            # Retry one by one, so that a bad file does not affect the others.
            found = [_transcribe_one(task, path) for path in piece]
        yield from found


def _transcribe_one(task: "SpeechRecognition", path: str) -> dict[str, object]:
    try:
        return _row(path, task.predict([path])[0])
    except InputError as error:
        return {"audio": path, "error": str(error)}


def _row(path: str, transcript: Transcript) -> dict[str, object]:
    return {
        "audio": path,
        "text": transcript.text,
        "seconds": round(transcript.seconds, 3),
        "tokens": [token._asdict() for token in transcript.tokens],
    }


def recordings_in(path: Path) -> list[str]:
    """Returns the paths of the recordings in a folder, or the path itself if it is no folder.

    Args:
        path: Folder or file.

    Raises:
        InputError: If a folder holds no recordings.
    """
    if not path.is_dir():
        return [str(path)]
    found = sorted(str(p) for p in path.rglob("*") if _is_recording(p))
    if not found:
        raise InputError(
            f"{path}: expected recordings ({', '.join(SUFFIXES)}), got none; pass another folder"
        )
    return found


def _is_recording(path: Path) -> bool:
    # macOS writes a hidden file ._a.wav beside a.wav on foreign file systems.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def print_stream(
    task: "SpeechRecognition", source: str, chunk: float, sample_rate: int | None
) -> None:
    """Prints words as they are recognized, and then the real-time factor and the latency.

    Args:
        task: The speech recognizer.
        source: An audio file, or - for PCM on standard input.
        chunk: Duration of a chunk, in seconds.
        sample_rate: Sample rate of standard input, in Hz; None means the rate of the training.

    Raises:
        InputError: If the task cannot stream, or the input cannot be read.
    """
    recognizer = task.listen()
    rate = recognizer.sample_rate
    if source == "-":
        blocks = pcm_blocks(sys.stdin.buffer, sample_rate or rate, rate, chunk)
    elif sample_rate is not None:
        raise InputError(
            "sample_rate describes standard input, and a file has its own; remove --sample_rate"
        )
    else:
        blocks = audio_blocks(Path(source), rate, task.frontend.channels, chunk)
    samples, times, shown = 0, [], ""
    for block in blocks:
        start = time.perf_counter()
        recognizer.accept(block)
        tokens = recognizer.stable_tokens()
        times.append(time.perf_counter() - start)
        samples += len(block)
        shown = _print_rest(task, tokens, shown)
    _print_rest(task, recognizer.finish(), shown)
    print()
    seconds = samples / rate
    if times and seconds:
        print(
            f"real-time factor {sum(times) / seconds:.4f}: {seconds:.2f} s of audio in "
            f"{sum(times):.3f} s, threads: {torch.get_num_threads()}\n"
            f"latency: up to {1000 * chunk:.0f} ms until a chunk is full, then "
            f"{1000 * sum(times) / len(times):.1f} ms of computation (at most "
            f"{1000 * max(times):.1f} ms); each encoder step needs "
            f"{1000 * recognizer.delay:.0f} ms of audio",
            file=sys.stderr,
        )


def _print_rest(task: "SpeechRecognition", tokens: list[Token], shown: str) -> str:
    """Prints the part of the text that is not shown yet, and returns the whole text."""
    text = task.text(token.index for token in tokens)
    sys.stdout.write(text[len(shown) :])
    sys.stdout.flush()
    return text
