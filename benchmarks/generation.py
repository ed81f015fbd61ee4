"""Tokens per second of a language model that writes, near the beginning and far into a text.

    python benchmarks/generation.py

Models of configs/shakespeare.yaml, every encoder with about as many parameters as its SRU, and with
random weights, which take as long as trained ones. The encoders take turns; medians of the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch

from srulight.commands.training import build
from srulight.tasks.language_modelling.task import LanguageModelling
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


def model(options: list[str]) -> LanguageModelling:
    """Builds a model with random weights."""
    config = ROOT / "configs" / "shakespeare.yaml"
    quiet = ["--trainer.logger=false", "--trainer.enable_checkpointing=false"]
    task = build([f"--config={config}", *options, *quiet], run=False).model
    assert isinstance(task, LanguageModelling)
    words = ["<eos>", "\n", *map(str, range(VOCABULARY - 4))]
    tokenizer = Words("space").with_vocabulary(words, PAD_UNKNOWN, lines=True)
    task.metadata = {"tokenizer": tokenizer.settings}
    task.build(task.metadata)
    return task


def speed(pieces: Iterator[str], count: int) -> float:
    """Measures how many of the next pieces come in a second."""
    start = time.perf_counter()
    for _ in islice(pieces, count):
        pass
    return count / (time.perf_counter() - start)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--positions", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--count", type=int, default=300, help="tokens that are timed at each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
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
    print("| encoder | parameters |", " | ".join(f"at {p:,}" for p in args.positions), "|")
    print("|---" * (2 + len(args.positions)) + "|")
    for name, task in models.items():
        size = sum(p.numel() for p in task.parameters())
        rates = [statistics.median(found[name, p]) for p in args.positions]
        print(f"| {name} | {size:,} |", " | ".join(f"{rate:,.0f}" for rate in rates), "|")


if __name__ == "__main__":
    main()
