"""predict: label or score lines, or write down recordings, with a checkpoint."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track

from srulight.checkpoint import load
from srulight.commands.parser import Parser
from srulight.commands.runs import find_checkpoint
from srulight.commands.transcribe import listen, transcribe
from srulight.errors import InputError
from srulight.storage import written
from srulight.tasks import SpeechRecognition, Task

_INPUT = """File of sentences or other lines, UTF-8, - for standard input; for speech, files of
sound and folders of them, one or more"""


def predict(
    ckpt_path: str,
    input: list[str],
    output: str = "-",
    device: str = "cpu",
    batch_size: int = 64,
    stream: bool = False,
    chunk: float = 0.1,
    sample_rate: int | None = None,
    beam_size: int | None = None,
    language_model: str | None = None,
    language_weight: float = 0.5,
    word_bonus: float = 0.0,
) -> None:
    """Answers lines of text, or recordings, as the checkpoint's task does.

    Text classification says label and probability of each line; a language model perplexity and
    tokens; tabs between, and the line behind. Speech recognition writes a JSON object a line for
    each recording: audio, text, seconds, and tokens with start and end in seconds; or audio and
    error.

    Args:
        ckpt_path: Checkpoint to predict with; best or last means that of the newest run.
        input: File of lines, UTF-8, - for standard input; for speech, files and folders of sound.
        output: File to write; - is standard output.
        device: Where to compute: cpu, cuda, cuda:1.
        batch_size: Lines or recordings at a time.
        stream: For speech: listen to one file, or to 16-bit little-endian mono PCM on standard
            input, and show words as they come.
        chunk: For speech and stream: seconds of sound at a time.
        sample_rate: For speech and stream: samples per second (Hz) on standard input; those of the
            training if not given.
        beam_size: For speech: texts that compete, 1 for the likeliest token at each step; as the
            checkpoint's if not given.
        language_model: For speech: file of an n-gram model of words (ARPA, plain or .gz); needs a
            beam_size above 1.
        language_weight: For speech: factor of the language model's log-probabilities.
        word_bonus: For speech: added to the score of a text for each word.
    """
    task = load(find_checkpoint(ckpt_path), device)
    if not isinstance(task, SpeechRecognition):
        if stream or beam_size or language_model:
            raise InputError(
                f"a {type(task).__name__} has no use for stream, beam_size and language_model"
            )
        _write(_answers(task, input, batch_size), output)
        return
    if beam_size is not None or language_model is not None:
        size = task.beam_size if beam_size is None else beam_size
        task.decode_with(size, language_model, language_weight, word_bonus)
    if stream:
        if len(input) != 1 or output != "-":
            raise InputError("stream takes one input, and writes to standard output")
        listen(task, input[0], chunk, sample_rate)
        return
    if input == ["-"]:
        raise InputError("give --input=FILE or a folder; PCM on standard input needs --stream=true")
    faults = 0

    def lines() -> Iterator[str]:
        nonlocal faults
        for row in transcribe(task, input, batch_size):
            faults += "error" in row
            yield json.dumps(row, ensure_ascii=False) + "\n"

    _write(lines(), output)
    if faults:
        raise InputError(f"{faults} recordings could not be read; their lines say why")


def _answers(task: Task, inputs: list[str], batch_size: int) -> Iterator[str]:
    """Gives a line for each line of a file."""
    if len(inputs) != 1:
        raise InputError(f"expected one file of lines, got {len(inputs)}")
    sentences = _read(inputs[0])
    # In pieces, so that a long file shows its progress.
    pieces = range(0, len(sentences), batch_size * 16)
    for start in track(pieces, "predicting", console=Console(stderr=True), transient=True):
        piece = sentences[start : start + batch_size * 16]
        for sentence, prediction in zip(piece, task.predict(piece, batch_size), strict=True):
            yield "\t".join([*map(_text, prediction), sentence]) + "\n"


def _write(lines: Iterable[str], output: str) -> None:
    if output == "-":
        for line in lines:
            sys.stdout.write(line)
        return
    # No reader sees half a file.
    with written(Path(output)) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(lines)


def _text(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _read(path: str) -> list[str]:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"input {path} cannot be read: {error.strerror}") from error
    sentences = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            sentences.append(line.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}:{number}: expected UTF-8, got byte {line[error.start]:#x}"
            ) from error
    return sentences


def run(args: list[str]) -> None:
    """Parses the arguments of :func:`predict` and calls it."""
    parser = Parser(prog="python train.py predict", description="")
    parser.add_argument("--input", nargs="+", type=str, default=["-"], help=_INPUT)
    parser.add_function_arguments(predict, as_group=False, skip={"input"})
    predict(**parser.parse_args(args))
