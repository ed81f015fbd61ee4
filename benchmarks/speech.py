"""Compares encoders in speech recognition, at equal parameters and equal numbers of epochs.

    python benchmarks/speech.py train fsdd --root FOLDER --out FOLDER
    python benchmarks/speech.py train yesno --root FOLDER --out FOLDER
    python benchmarks/speech.py stream fsdd --root FOLDER --ckpt_path FILE

``train`` trains the model of configs/fsdd.yaml or configs/yesno.yaml with each encoder and tests
its best checkpoint. The output folder receives a table and a plot of the error rates. The time per
epoch is the median over the epochs, without validation.

``stream`` decodes the test recordings of a checkpoint on one core, as whole files and in pieces of
random sizes. It counts the transcripts that differ and times both. Pieces of 100 ms measure the
latency.

Options of ``train`` that are not listed below are passed on to train.py.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import soundfile
import torch
from torch import Tensor
from trainings import ROOT, draw, fit, measure

from srulight.checkpoint import load
from srulight.encoders import LSTM, SRU, Encoder, ResidualCNN
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus
from srulight.tasks.speech_recognition.corpora.fsdd import FSDD
from srulight.tasks.speech_recognition.corpora.yesno import YesNo
from srulight.tasks.speech_recognition.layers.subsampling import Convolutions
from srulight.tasks.speech_recognition.task import SpeechRecognition

# Arguments of each encoder except its width, which follows from the number of parameters.
ENCODERS: dict[str, tuple[type[Encoder], dict[str, Any]]] = {
    "SRU": (SRU, {"num_layers": 4}),
    "biSRU": (SRU, {"num_layers": 4, "bidirectional": True}),
    "LSTM": (LSTM, {"num_layers": 3}),
    "biLSTM": (LSTM, {"num_layers": 3, "bidirectional": True}),
    "CNN": (ResidualCNN, {"num_layers": 10, "kernel_size": 5}),
}
CORPORA: dict[str, SpeechCorpus] = {"fsdd": FSDD(), "yesno": YesNo()}
CHANNELS = {"fsdd": 128, "yesno": 64}
PARAMETERS = {"fsdd": 800_000, "yesno": 200_000}
DROPOUT = 0.2


class Result(NamedTuple):
    """The results of one encoder.

    Attributes:
        parameters: Number of parameters of the subsampling and the encoder.
        seconds: Duration of a training epoch, in seconds.
        curve: Pairs of epoch and validation word error rate.
        wer: Test word error rate.
        cer: Test character error rate.
    """

    parameters: int
    seconds: float
    curve: list[tuple[float, float]]
    wer: float
    cer: float


def widest(setting: str, name: str) -> tuple[str, int, int]:
    """Finds the width, a multiple of 8, that comes closest to the number of parameters.

    Returns:
        Name of the argument for the width, the width, and the number of parameters.
    """
    cls, arguments = ENCODERS[name]
    width = "channels" if cls is ResidualCNN else "hidden_size"

    def count(size: int) -> int:
        with torch.device("meta"):
            made: Callable[..., Encoder] = cls
            encoder = made(CHANNELS[setting], **{width: size}, **arguments)
            parts = (Convolutions(40, CHANNELS[setting]), encoder)
        return sum(p.numel() for part in parts for p in part.parameters())

    best = min(range(16, 513, 8), key=lambda size: abs(count(size) - PARAMETERS[setting]))
    return width, best, count(best)


def train(name: str, args: argparse.Namespace) -> Result:
    """Trains and tests a model with one encoder."""
    cls, arguments = ENCODERS[name]
    width, size, parameters = widest(args.setting, name)
    folder = args.out / f"{args.setting}-{name}"
    run = fit(
        folder, "val/wer", f"--config={ROOT / 'configs' / args.setting}.yaml",
        f"--data.root={args.root}", f"--model.encoder={cls.__name__}",
        f"--model.encoder.{width}={size}", f"--model.encoder.dropout={DROPOUT}",
        *(f"--model.encoder.{key}={str(v).lower()}" for key, v in arguments.items()), *args.options,
    )  # fmt: skip
    wer, cer = measure(run.best, "wer", "cer")
    curve = [(float(i), value) for i, value in enumerate(run.values("val/wer"))]
    return Result(parameters, run.seconds, curve, wer, cer)


def compare(args: argparse.Namespace) -> None:
    """Trains every encoder, prints the table and draws the plot."""
    results: dict[str, Result] = {}
    lines = [
        "| encoder | parameters | test WER | test CER | best val WER | s / epoch |",
        "|---|---|---|---|---|---|",
    ]
    for name in args.encoders:
        r = results[name] = train(name, args)
        lines.append(
            f"| {name} | {r.parameters:,} | {r.wer:.1%} | {r.cer:.1%} "
            f"| {min(wer for _, wer in r.curve):.1%} | {r.seconds:.2f} |"
        )
        # Written after each encoder, so that an interrupted benchmark keeps its results.
        print(lines[-1], flush=True)
        (args.out / f"{args.setting}.md").write_text("\n".join(lines) + "\n")
        curves = {name: result.curve for name, result in results.items()}
        rate = "validation word error rate"
        draw(curves, args.out / f"{args.setting}.png", "epoch", rate)


def in_pieces(
    task: SpeechRecognition, samples: Tensor, size: Callable[[], int]
) -> tuple[str, list[float]]:
    """Transcribes piece by piece. Returns the text and the seconds that each piece took."""
    recognizer, seconds = task.listen(), []
    while len(samples):
        piece, samples = samples.split([n := min(size(), len(samples)), len(samples) - n])
        start = time.perf_counter()
        recognizer.accept(piece)
        recognizer.stable_tokens()
        seconds.append(time.perf_counter() - start)
    return task.text(token.index for token in recognizer.finish()), seconds


def stream(args: argparse.Namespace) -> None:
    """Compares whole recordings with pieces, and times both."""
    torch.set_num_threads(1)
    task = load(args.ckpt_path)
    assert isinstance(task, SpeechRecognition)
    task.decode_with(beam_size=args.beam_size)
    test = CORPORA[args.setting].read(args.root).test
    rate = task.listen().sample_rate
    generator = torch.Generator().manual_seed(0)
    differ, total, whole, parts = 0, 0.0, 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.wav"
        for utterance in test:
            samples = task.frontend.samples(utterance.audio, utterance.pause)
            soundfile.write(path, samples.numpy(), rate, subtype="FLOAT")
            start = time.perf_counter()
            text = task.predict([str(path)])[0].text
            whole += time.perf_counter() - start
            for largest in (100, 1000, 8000):

                def size(largest: int = largest) -> int:
                    return int(torch.randint(1, largest, (), generator=generator))

                differ += text != in_pieces(task, samples, size)[0]
            parts += in_pieces(task, samples, lambda: rate // 10)[1]
            total += len(samples) / rate
    slow = statistics.quantiles(parts, n=100)[98]
    print(
        f"{len(test)} recordings, {total:.0f} s in total, in pieces of up to 100, 1000 and 8000 "
        f"samples: {differ} of {3 * len(test)} transcripts differ from those of whole files\n"
        f"real-time factor on one core: {whole / total:.5f} for whole files, including reading; "
        f"{sum(parts) / total:.5f} for pieces of 100 ms\n"
        f"time per piece of 100 ms: median {1e3 * statistics.median(parts):.2f} ms, "
        f"99th percentile {1e3 * slow:.2f} ms\n"
        f"a step is complete after {1e3 * task.listen().delay:.0f} ms of audio"
    )


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("command", choices=("train", "stream"), help="what to measure")
    parser.add_argument("setting", choices=CORPORA, help="corpus")
    parser.add_argument("--root", type=Path, required=True, help="folder with the data")
    parser.add_argument(
        "--out", type=Path, help="train: folder for the runs, the table and the plot"
    )
    parser.add_argument(
        "--encoders", nargs="+", default=ENCODERS, choices=ENCODERS, help="train: encoders to train"
    )
    parser.add_argument("--ckpt_path", help="stream: checkpoint with a causal encoder")
    parser.add_argument(
        "--beam_size", type=int, default=1, help="stream: beam size; 1 decodes greedily"
    )
    args, rest = parser.parse_known_args()
    args.options = rest
    needed = "out" if args.command == "train" else "ckpt_path"
    if getattr(args, needed) is None:
        parser.error(f"{args.command} needs --{needed}; pass it")
    (compare if args.command == "train" else stream)(args)


if __name__ == "__main__":
    main()
