"""Measures how many tokens per second a language model generates, early and late in a text.

    python benchmarks/generation.py

The models are those of configs/shakespeare.yaml. Every encoder has about as many parameters as the
SRU, and random weights, which take as long as trained ones. The encoders take turns, and the table
has the medians over the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch

from srulight.commands.training import build
from srulight.tasks.language_modeling.task import LanguageModeling
from srulight.text.tokenizers import PAD_UNKNOWN, Words

ROOT = Path(__file__).parents[1]
VOCABULARY = 67
ENCODERS = {
    "SRU": [],
    "SRU++": [
        "--model.encoder=SRUpp",
        "--model.encoder.hidden_size=560",
        "--model.encoder.memory_size=128",
    ],
    "QRNN": ["--model.encoder=QRNN"],
    "LSTM": [f"--model.encoder={ROOT / 'configs' / 'encoders' / 'lstm_shakespeare.yaml'}"],
    "GRU": [
        "--model.encoder=GRU",
        "--model.encoder.num_layers=2",
        "--model.encoder.hidden_size=384",
    ],
}


def model(options: list[str]) -> LanguageModeling:
    """Builds a model with random weights from options of the command line."""
    config = ROOT / "configs" / "shakespeare.yaml"
    quiet = ["--trainer.logger=false", "--trainer.enable_checkpointing=false"]
    task = build([f"--config={config}", *options, *quiet], run=False).model
    assert isinstance(task, LanguageModeling)
    words = ["<eos>", "\n", *map(str, range(VOCABULARY - 4))]
    tokenizer = Words("space").with_vocabulary(words, PAD_UNKNOWN, lines=True)
    task.metadata = {"tokenizer": tokenizer.settings}
    task.build(task.metadata)
    return task


def speed(pieces: Iterator[str], count: int) -> float:
    """Returns how many of the next ``count`` pieces arrive per second."""
    start = time.perf_counter()
    for _ in islice(pieces, count):
        pass
    return count / (time.perf_counter() - start)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--positions", type=int, nargs="+", default=[10, 1000, 10_000],
        help="positions in the text, in tokens, where timing starts",
    )  # fmt: skip
    parser.add_argument(
        "--count", type=int, default=300, help="number of tokens to time at each position"
    )
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds per encoder")
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    models = {name: model(options) for name, options in ENCODERS.items()}
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(args.rounds):
        for name, task in models.items():
            pieces = task.generate(length=max(args.positions) + args.count)
            place = 0
            for position in sorted(args.positions):
                speed(pieces, position - place)
                found.setdefault((name, position), []).append(speed(pieces, args.count))
                place = position + args.count
    heads = (f"tokens / s at {p:,}" for p in args.positions)
    print("| encoder | parameters |", " | ".join(heads), "|")
    print("|---" * (2 + len(args.positions)) + "|")
    for name, task in models.items():
        size = sum(p.numel() for p in task.parameters())
        rates = [statistics.median(found[name, p]) for p in args.positions]
        print(f"| {name} | {size:,} |", " | ".join(f"{rate:,.0f}" for rate in rates), "|")


if __name__ == "__main__":
    main()
