"""Writing down recordings: whole files as JSON lines, or one while it is heard."""

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
from srulight.tasks.speech_recognition.frontend.audio import Channels, audio_blocks, pcm_blocks

if TYPE_CHECKING:
    from srulight.tasks.speech_recognition.task import SpeechRecognition, Transcript

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".au", ".sph", ".npy")


class SpeechPredictor(Predictor):
    """Writes down recordings, a JSON object a line for each; or one recording while it is heard.

    An object has audio (the file), text, seconds, and tokens with start and end in seconds; or
    audio and error. With stream, words are shown as they come.

    Args:
        batch_size: Recordings at a time.
        channels: What to do with a recording of several channels: refuse, or mix, which takes their
            mean; as the checkpoint's if not given.
        beam_size: Texts that compete; 1 for the likeliest token at each step; as the checkpoint's
            if not given.
        language_model: File of an n-gram model of words (ARPA, plain or .gz), which needs a
            beam_size above 1; as the checkpoint's if not given.
        language_weight: Factor of the language model's log-probabilities; as the checkpoint's if
            not given.
        word_bonus: Added to the score of a text for each word; as the checkpoint's if not given.
        stream: Listen to one file, or to 16-bit little-endian mono PCM on standard input.
        chunk: With stream, seconds of sound at a time.
        sample_rate: With stream, samples per second (Hz) on standard input; those of the training
            if not given.
    """

    inputs: ClassVar = "files of sound, and folders of them; with --stream, one file, or - for PCM"

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
        if beam_size == 1 and language_model is None:
            self.decoder["language_model"] = None  # nothing would heed the checkpoint's
        self.batch_size = batch_size
        self.channels = channels
        self.stream = stream
        self.chunk = chunk or 0.1
        self.sample_rate = sample_rate
        self.failed = 0

    def run(self, task: "SpeechRecognition", inputs: list[str], output: str) -> None:
        task.decode_with(**self.decoder)
        if self.channels is not None:
            task.frontend.channels = self.channels
        if self.stream:
            if output != "-":
                raise InputError("stream writes to standard output: leave out --output")
            listen(task, one_input(inputs, "file"), self.chunk, self.sample_rate)
            return
        super().run(task, inputs, output)
        if self.failed:
            raise InputError(f"{self.failed} recordings could not be read; their lines say why")

    def answers(self, task: "SpeechRecognition", inputs: list[str]) -> Iterator[str]:
        if inputs == ["-"]:
            raise InputError(
                "give --input=FILE or a folder; PCM on standard input needs --stream=true"
            )
        for row in transcribe(task, inputs, self.batch_size):
            self.failed += "error" in row
            yield json.dumps(row, ensure_ascii=False) + "\n"


def transcribe(
    task: "SpeechRecognition", inputs: Sequence[str], batch_size: int
) -> Iterator[dict[str, object]]:
    """Gives what is written down of each recording, or ``error``, why nothing is.

    Args:
        task: What hears.
        inputs: Files, and folders of files.
        batch_size: Recordings at a time.

    Raises:
        InputError: If there are no recordings.
    """
    paths = [path for name in inputs for path in _files(Path(name))]
    for piece in pieces(paths, batch_size, "listening"):
        try:
            transcripts = task.predict(piece, batch_size)
            found = [_row(p, t) for p, t in zip(piece, transcripts, strict=True)]
        except InputError:
            # One by one, so that the others are heard.
            found = [_one(task, path) for path in piece]
        yield from found


def _one(task: "SpeechRecognition", path: str) -> dict[str, object]:
    try:
        return _row(path, task.predict([path])[0])
    except InputError as error:
        return {"audio": path, "error": str(error)}


def _row(path: str, transcript: "Transcript") -> dict[str, object]:
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


def listen(task: "SpeechRecognition", source: str, chunk: float, sample_rate: int | None) -> None:
    """Prints words as they are heard, and at the end how fast that was.

    Args:
        task: What hears.
        source: A file of sound; - for PCM on standard input.
        chunk: Seconds of sound at a time.
        sample_rate: Samples per second (Hz) on standard input; those of the training if None.

    Raises:
        InputError: If the task cannot listen along, or the file is not what it should be.
    """
    listener = task.listen()
    rate = listener.sample_rate
    if source == "-":
        pieces = pcm_blocks(sys.stdin.buffer, sample_rate or rate, rate, chunk)
    elif sample_rate is not None:
        raise InputError("sample_rate is for sound on standard input; a file says its own")
    else:
        pieces = audio_blocks(Path(source), rate, task.frontend.channels, chunk)
    samples, times, shown = 0, [], ""
    for piece in pieces:
        start = time.perf_counter()
        listener.hear(piece)
        tokens = listener.settled()
        times.append(time.perf_counter() - start)
        samples += len(piece)
        shown = _show(task, [token.index for token in tokens], shown)
    shown = _show(task, [token.index for token in listener.finish()], shown)
    print()
    seconds = samples / rate
    if times and seconds:
        print(
            f"{seconds:.2f} s of sound in {sum(times):.3f} s: real-time factor "
            f"{sum(times) / seconds:.4f} on {torch.get_num_threads()} threads\n"
            f"latency: a step is heard to its end after {1000 * listener.delay:.0f} ms, waits for "
            f"its piece at most {1000 * chunk:.0f} ms, and a piece takes "
            f"{1000 * sum(times) / len(times):.1f} ms (at most {1000 * max(times):.1f})",
            file=sys.stderr,
        )


def _show(task: "SpeechRecognition", tokens: list[int], shown: str) -> str:
    """Prints what is new of a text, which goes on from what was shown."""
    text = task.speller.decode(tokens)
    sys.stdout.write(text[len(shown) :])
    sys.stdout.flush()
    return text
