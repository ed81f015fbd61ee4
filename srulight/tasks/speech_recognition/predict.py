"""Prediction: transcripts of recordings as JSON lines, or of one while it comes in."""

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
    """Transcribes recordings, a JSON object per line; or one recording while it comes in.

    An object has audio (the file), text, seconds, and tokens with start and end in seconds; or
    audio and error. With stream, words are printed as they are recognized.

    Args:
        batch_size: Recordings at a time.
        channels: What to do with a recording of several channels: refuse, or mix, which takes their
            mean; as the checkpoint's if not given.
        beam_size: Hypotheses that compete; 1 for the most probable token at each step; as the
            checkpoint's if not given.
        language_model: File of an n-gram model of words (ARPA, plain or .gz), which needs a
            beam_size above 1; as the checkpoint's if not given.
        language_weight: Factor of the language model's log-probabilities, 0 or more; as the
            checkpoint's if not given.
        word_bonus: Added to the score of a hypothesis for each word, in nats, -1000 to 1000; as the
            checkpoint's if not given.
        stream: Transcribe one file, or 16-bit little-endian mono PCM on standard input, piece by
            piece.
        chunk: With stream, seconds of sound at a time; 0.1 if not given.
        sample_rate: With stream, samples per second (Hz) on standard input; those of the training
            if not given.
    """

    inputs: ClassVar = "audio files, and folders of them; with --stream, one file, or - for PCM"

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
            raise InputError(f"chunk must be more than 0 seconds, got {chunk}")
        if not stream and (chunk is not None or sample_rate is not None):
            raise InputError("chunk and sample_rate need --stream=true")
        given: dict[str, Any] = {
            "beam_size": beam_size, "language_model": language_model,
            "language_weight": language_weight, "word_bonus": word_bonus,
        }  # fmt: skip
        self.decoder = {name: value for name, value in given.items() if value is not None}
        if beam_size == 1:  # the checkpoint's own would need a larger beam
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
            raise InputError("language_weight needs a language_model")
        if self.channels is not None:
            task.frontend.channels = self.channels
        if self.stream:
            if output != "-":
                raise InputError("stream writes to standard output: leave out --output")
            print_stream(task, one_input(inputs, "file"), self.chunk, self.sample_rate)
            return
        super().run(task, inputs, output)
        if self._failures:
            raise InputError(f"{self._failures} recordings could not be read; their lines say why")

    def answers(self, task: "SpeechRecognition", inputs: list[str]) -> Iterator[str]:
        if inputs == ["-"]:
            raise InputError(
                "give --input=FILE or a folder; PCM on standard input needs --stream=true"
            )
        for row in transcribe(task, inputs, self.batch_size):
            self._failures += "error" in row
            yield json.dumps(row, ensure_ascii=False) + "\n"


def transcribe(
    task: "SpeechRecognition", inputs: Sequence[str], batch_size: int
) -> Iterator[dict[str, object]]:
    """Gives the transcript of each recording as plain data, or ``error``, why there is none.

    Args:
        task: The recognizer.
        inputs: Files, and folders of files.
        batch_size: Recordings at a time.

    Raises:
        InputError: If there are no recordings.
    """
    paths = [path for name in inputs for path in _files(Path(name))]
    for piece in pieces(paths, batch_size, "transcribing"):
        try:
            transcripts = task.predict(piece, batch_size)
            found = [_row(p, t) for p, t in zip(piece, transcripts, strict=True)]
        except InputError:
            # One by one, so that the others are transcribed.
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


def _files(path: Path) -> list[str]:
    if not path.is_dir():
        return [str(path)]
    found = sorted(str(p) for p in path.rglob("*") if _is_recording(p))
    if not found:
        raise InputError(f"{path} has no recordings ({', '.join(SUFFIXES)})")
    return found


def _is_recording(path: Path) -> bool:
    # macOS puts a file such as ._a.wav beside a.wav on the disks of others.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def print_stream(
    task: "SpeechRecognition", source: str, chunk: float, sample_rate: int | None
) -> None:
    """Prints words as they are recognized, and at the end how fast that was.

    Args:
        task: The recognizer.
        source: An audio file; - for PCM on standard input.
        chunk: Seconds of sound at a time.
        sample_rate: Samples per second (Hz) on standard input; those of the training if None.

    Raises:
        InputError: If the task cannot stream, or the file is not what it should be.
    """
    recognizer = task.listen()
    rate = recognizer.sample_rate
    if source == "-":
        blocks = pcm_blocks(sys.stdin.buffer, sample_rate or rate, rate, chunk)
    elif sample_rate is not None:
        raise InputError("sample_rate is for sound on standard input; a file says its own")
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
            f"{seconds:.2f} s of sound in {sum(times):.3f} s: real-time factor "
            f"{sum(times) / seconds:.4f} on {torch.get_num_threads()} threads\n"
            f"latency: a step is complete after {1000 * recognizer.delay:.0f} ms, waits for its "
            f"chunk at most {1000 * chunk:.0f} ms, and a chunk takes "
            f"{1000 * sum(times) / len(times):.1f} ms (at most {1000 * max(times):.1f})",
            file=sys.stderr,
        )


def _print_rest(task: "SpeechRecognition", tokens: list[Token], shown: str) -> str:
    """Prints what is new of a text that continues what was shown, and gives the whole text."""
    text = task.text(token.index for token in tokens)
    sys.stdout.write(text[len(shown) :])
    sys.stdout.flush()
    return text
