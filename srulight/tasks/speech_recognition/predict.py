"""Writing down recordings: whole files as JSON lines, or one while it is heard."""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.frontend.audio import audio_blocks, pcm_blocks
from srulight.tasks.speech_recognition.task import SpeechRecognition, Transcript

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".au", ".sph", ".npy")


def transcribe(
    task: SpeechRecognition, inputs: Sequence[str], batch_size: int
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
    pieces = range(0, len(paths), batch_size)
    for start in track(pieces, "listening", console=Console(stderr=True), transient=True):
        piece = paths[start : start + batch_size]
        try:
            transcripts = task.predict(piece, batch_size)
            found = [_row(p, t) for p, t in zip(piece, transcripts, strict=True)]
        except InputError:
            # One by one, so that the others are heard.
            found = [_one(task, path) for path in piece]
        yield from found


def _one(task: SpeechRecognition, path: str) -> dict[str, object]:
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


def listen(task: SpeechRecognition, source: str, chunk: float, sample_rate: int | None) -> None:
    """Prints words as they are heard, and at the end how fast that was.

    Args:
        task: What hears.
        source: A file of sound; - for PCM on standard input.
        chunk: Seconds of sound at a time.
        sample_rate: Samples per second (Hz) on standard input; those of the training if None.

    Raises:
        InputError: If the task cannot listen along, or the file is not what it should be.
    """
    if not 0 < chunk < math.inf:
        raise InputError(f"chunk must be more than 0 seconds, got {chunk}")
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


def _show(task: SpeechRecognition, tokens: list[int], shown: str) -> str:
    """Prints what is new of a text, which goes on from what was shown."""
    text = task.speller.decode(tokens)
    sys.stdout.write(text[len(shown) :])
    sys.stdout.flush()
    return text
