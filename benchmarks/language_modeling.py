"""Compares language models with every encoder, at equal parameters and equal training time.

    python benchmarks/language_modeling.py words --root FOLDER --minutes 10 --out FOLDER
    python benchmarks/language_modeling.py characters --root FOLDER --minutes 10 --out FOLDER

``words`` needs wiki.{train,valid,test}.tokens of WikiText-2 in the root folder, and ``characters``
needs tinyshakespeare.txt. Every encoder trains for the given time, including checkpoints and a
validation every 30 seconds. Then its best checkpoint is tested on the test text, read as a single
sequence. The output folder receives the table and a plot of the validation loss over the training
time.

Options that are not listed below are passed on to train.py.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from trainings import ROOT, draw, fit, measure, newest

from srulight.encoders import GRU, LSTM, QRNN, SRU, Recurrent, SRUpp
from srulight.tasks.language_modeling.task import LanguageModeling
from srulight.text.tokenizers import PAD_UNKNOWN, Words

BATCH, SEGMENT = 16, 128

# Arguments of each encoder except its width, which follows from the number of parameters.
ENCODERS: dict[str, tuple[type[Recurrent], dict[str, object]]] = {
    "SRU (2018)": (SRU, {"num_layers": 4, "highway_bias": -2.0}),
    "SRU (2017)": (SRU, {"num_layers": 4, "highway_bias": -2.0, "peephole": False}),
    "SRU++": (SRUpp, {"num_layers": 4, "memory_size": 128}),
    "QRNN": (QRNN, {"num_layers": 4, "kernel_size": 2}),
    "LSTM": (LSTM, {"num_layers": 2}),
    "GRU": (GRU, {"num_layers": 2}),
}


class Setting(NamedTuple):
    """The settings of a comparison.

    Attributes:
        config: Configuration of the data.
        vocabulary: Number of tokens in the vocabulary, V.
        model: Arguments of the task.
        parameters: Number of parameters of each model.
        figure: Metric to report.
        lr: Learning rate of Adam.
    """

    config: str
    vocabulary: int
    model: dict[str, object]
    parameters: int
    figure: str
    lr: float


SETTINGS = {
    "words": Setting(
        "wikitext2.yaml",
        33_279,
        {"embedding_size": 256, "tied": True, "cutoffs": [2000, 10_000], "dropout": 0.2},
        2_600_000,
        "perplexity",
        0.003,
    ),
    "characters": Setting(
        "shakespeare.yaml",
        67,
        {"embedding_size": 64, "tied": False, "cutoffs": None, "dropout": 0.2},
        1_200_000,
        "bits_per_char",
        0.004,
    ),
}


class Result(NamedTuple):
    """The results of one encoder.

    Attributes:
        hidden_size: Width of the encoder.
        parameters: Number of parameters of the whole model.
        tokens_per_second: Speed of training.
        tokens: Number of tokens trained on, over all passes.
        curve: Pairs of training time in seconds and validation loss.
        val: Best value of the metric in validation.
        test: Value of the metric in the test of that checkpoint.
    """

    hidden_size: int
    parameters: int
    tokens_per_second: float
    tokens: int
    curve: list[tuple[float, float]]
    val: float
    test: float


def count(setting: Setting, build: Callable[[int], Recurrent]) -> int:
    """Counts the parameters of a model."""
    words = ["<eos>", "\n", *map(str, range(setting.vocabulary - 4))]
    tokenizer = Words("space").with_vocabulary(words, PAD_UNKNOWN, lines=True)
    with torch.device("meta"):
        task = LanguageModeling(encoder=build, **setting.model)  # type: ignore[arg-type]
        task.build({"tokenizer": tokenizer.settings})
    return sum(p.numel() for p in task.parameters())


def widest(setting: Setting, name: str) -> tuple[int, int]:
    """Finds the width, a multiple of 8, that comes closest to the number of parameters."""
    cls, arguments = ENCODERS[name]

    def size(hidden: int) -> int:
        def build(features: int) -> Recurrent:
            return cls(features, hidden, **arguments)

        return count(setting, build)

    widths = range(64, 1025, 8)
    hidden = min(widths, key=lambda width: abs(size(width) - setting.parameters))
    return hidden, size(hidden)


def options(arguments: dict[str, object], prefix: str) -> Iterator[str]:
    """Formats arguments as options of train.py."""
    for name, value in arguments.items():
        yield f"--{prefix}.{name}={str(value).lower() if isinstance(value, bool) else value}"


def train(name: str, setting: Setting, args: argparse.Namespace) -> Result:
    """Trains and tests a model with one encoder."""
    cls, arguments = ENCODERS[name]
    hidden, parameters = widest(setting, name)
    folder = args.out / f"{args.setting}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"
    minutes, seconds = divmod(round(60 * args.minutes), 60)
    run = fit(
        folder, "step", f"--config={ROOT / 'configs' / setting.config}", f"--data.root={args.root}",
        "--data.evaluation.tracks=16", f"--data.batch_size={BATCH}",
        f"--data.segment_length={SEGMENT}",
        *options({k: v for k, v in setting.model.items() if v is not None}, "model"),
        f"--model.encoder={cls.__name__}", f"--model.encoder.hidden_size={hidden}",
        "--model.encoder.dropout=0.1", *options(arguments, "model.encoder"),
        "--model.optimizer=torch.optim.Adam", "--model.optimizer.fused=true",
        f"--model.optimizer.lr={args.lr or setting.lr}", "--model.scheduler=Warmup",
        "--model.scheduler.steps=100", "--trainer.gradient_clip_val=1",
        "--trainer.max_epochs=-1", f"--trainer.max_time=00:00:{minutes:02}:{seconds:02}",
        "--trainer.val_check_interval=00:00:00:30", "--trainer.check_val_every_n_epoch=null",
        # Early stopping does not support time intervals (Lightning 2.6).
        "--trainer.callbacks=null", *args.options,
    )  # fmt: skip
    validated = newest(folder, "val/loss")
    speeds = [float(s) for row in run.rows if (s := row.get("train/tokens_per_second"))]
    whole = ("--data.evaluation.tracks=1", "--data.evaluation.segment_length=1024")
    (test,) = measure(run.best, setting.figure, options=whole)
    return Result(
        hidden,
        parameters,
        max(speeds),
        (int(run.rows[-1]["step"]) + 1) * BATCH * SEGMENT,
        list(zip(validated.ends, validated.values("val/loss"), strict=True)),
        min(validated.values(f"val/{setting.figure}")),
        test,
    )


def main() -> None:
    """Trains every encoder, prints the table and draws the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("setting", choices=SETTINGS, help="data to compare the encoders on")
    parser.add_argument("--root", required=True, help="folder with the data")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the runs, the table and the plot"
    )
    parser.add_argument(
        "--minutes", type=float, default=10, help="training time per encoder, in minutes"
    )
    parser.add_argument("--lr", type=float, help="learning rate of Adam (default: the setting's)")
    parser.add_argument(
        "--encoders", nargs="+", default=ENCODERS, choices=ENCODERS, help="encoders to train"
    )
    args, rest = parser.parse_known_args()
    args.options = rest
    setting = SETTINGS[args.setting]
    results: dict[str, Result] = {}
    lines = [
        "| encoder | width | parameters | tokens / s | million tokens "
        f"| val {setting.figure} | test |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in args.encoders:
        r = results[name] = train(name, setting, args)
        lines.append(
            f"| {name} | {r.hidden_size} | {r.parameters:,} | {r.tokens_per_second:,.0f} "
            f"| {r.tokens / 1e6:.1f} | {r.val:.4g} | {r.test:.4g} |"
        )
        # Written after each encoder, so that an interrupted benchmark keeps its results.
        print(lines[-1], flush=True)
        (args.out / f"{args.setting}.md").write_text("\n".join(lines) + "\n")
        curves = {name: result.curve for name, result in results.items()}
        loss = "validation loss (nats per token)"
        draw(curves, args.out / f"{args.setting}.png", "training time (s)", loss)


if __name__ == "__main__":
    main()
