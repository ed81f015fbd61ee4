"""predict: label or score the lines of a file, or of standard input, with a checkpoint."""

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from srulight.checkpoint import load
from srulight.commands.parser import Parser
from srulight.commands.runs import find_checkpoint
from srulight.errors import InputError


def predict(
    ckpt_path: str,
    input: str = "-",
    output: str = "-",
    device: str = "cpu",
    batch_size: int = 64,
) -> None:
    """Reads lines, and writes for each what the checkpoint's task says, and the line; tabs between.

    Text classification says label and probability; a language model perplexity and tokens.

    Args:
        ckpt_path: Checkpoint to predict with; best or last means that of the newest run.
        input: File of sentences or other lines, UTF-8; - is standard input.
        output: File to write; - is standard output.
        device: Where to compute: cpu, cuda, cuda:1.
        batch_size: Lines at a time.
    """
    task = load(find_checkpoint(ckpt_path), device)
    sentences = _read(input)
    # In pieces, so that a long file shows its progress.
    pieces = range(0, len(sentences), batch_size * 16)
    lines = []
    for start in track(pieces, "predicting", console=Console(stderr=True), transient=True):
        piece = sentences[start : start + batch_size * 16]
        for sentence, prediction in zip(piece, task.predict(piece, batch_size), strict=True):
            lines.append("\t".join([*map(_text, prediction), sentence]) + "\n")
    if output == "-":
        sys.stdout.writelines(lines)
    else:
        # Written beside and moved, so that no reader sees half a file.
        unfinished = Path(f"{output}.part")
        unfinished.write_text("".join(lines), encoding="utf-8")
        os.replace(unfinished, output)


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
    parser.add_function_arguments(predict, as_group=False)
    predict(**parser.parse_args(args))
