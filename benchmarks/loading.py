"""Measures how much of training is spent on reading data that are mapped from the cache.

    python benchmarks/loading.py              generated sequences, about two minutes
    python benchmarks/loading.py --steps 20   generated sequences, less exact
    python benchmarks/loading.py --config configs/video.yaml --model.freeze_frames=true
        an epoch of any configuration

With --config, the benchmark trains twice as ``train.py fit`` does, with the options that are not
listed below: once for an epoch, which fills the cache, and then, in a new process, for --epochs
epochs. It prints the mean CPU time of an epoch without the first one: in all, waiting for training
and validation batches, in the network (training steps, and steps of validation), and the
rest, which is mostly the checkpoint, the log and the metrics at the end of the epoch.

Without --config, the data have 8 features and 2 numbers per step:
    short   500 sequences of 50 to 100 steps, read whole, 32 per batch
    long    8 sequences of 86,400 steps (a day at one row per second), in segments of 512 steps
    longer  8 sequences of 691,200 steps, in segments of 512 steps

The model is an SRU of 2 layers of 64 units. The columns are the median CPU time of a batch in the
loader and in the network (forward, loss, backward and step), and the share of the loader.

Both tables end with the memory at the end of training: "own" is what the process has allocated, and
"mapped" are pages of the files, which the system takes back when it needs memory. Each data set has
a process of its own.
"""

import argparse
import itertools
import logging
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import seed_everything
from lightning.pytorch.profilers import Profiler
from torch import Tensor

from srulight import SRU
from srulight.bench.tables import Recorder
from srulight.commands.training import build
from srulight.ops import extension
from srulight.tasks.sequence_prediction import SequencePrediction, SequencePredictionData
from srulight.tasks.sequence_prediction.corpora.base import Part, SequenceCorpus, Sequences

SIZES = {
    "short": ([50 + i % 51 for i in range(500)], None),
    "long": ([86_400] * 8, 512),
    "longer": ([8 * 86_400] * 8, 512),
}
FEATURES, TARGETS = 8, 2


class Noise(SequenceCorpus):
    """Random numbers in a file, whose targets are means of them.

    Args:
        lengths: Number of steps of each sequence.
    """

    kind = "numbers"
    per = "step"

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = np.array(lengths)

    def recipe(self, root: Path) -> Any:  # noqa: ANN401
        return self.lengths.tolist()

    def fetch(self, root: Path) -> None:
        if root.exists():
            return
        root.mkdir()
        rng = np.random.default_rng(0)
        for name, width in (("numbers", FEATURES), ("targets", TARGETS)):
            with (root / f"{name}.bin").open("wb") as file:
                for length in self.lengths.tolist():
                    file.write(rng.standard_normal((length, width), dtype=np.float32).data)

    def read(self, root: Path) -> Sequences:
        rows = int(self.lengths.sum())
        numbers, targets = (
            np.memmap(root / f"{name}.bin", np.float32, "r", shape=(rows, width))
            for name, width in (("numbers", FEATURES), ("targets", TARGETS))
        )
        names, none = [str(i) for i in range(len(self.lengths))], np.empty((rows, 0), dtype=object)
        train = Part(names, self.lengths, numbers, none, None, targets, str)
        first = slice(0, int(self.lengths[0]))
        val = Part(
            names[:1], self.lengths[:1], numbers[first], none[first], None, targets[first], str
        )
        return Sequences(
            train, val, None, [f"x{i}" for i in range(FEATURES)], [], [*"ab"[:TARGETS]]
        )


def memory() -> tuple[float, float]:
    """Returns the memory of this process in MB: its own, and mapped from files."""
    status = Path("/proc/self/status").read_text()
    found = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if "Rss" in line}
    return int(found["RssAnon"]) / 1e3, int(found["RssFile"]) / 1e3


def prepare(name: str, root: Path) -> SequencePredictionData:
    """Makes the data module of a data set, and its files if they are missing."""
    lengths, segment_length = SIZES[name]
    data = SequencePredictionData(
        Noise(lengths), str(root / name), download=True, segment_length=segment_length
    )
    data.prepare_data()
    data.setup()
    return data


def measure(name: str, root: Path, steps: int) -> None:
    """Prints the row of a data set."""
    data = prepare(name, root)
    torch.manual_seed(0)
    task = SequencePrediction(encoder=partial(SRU, hidden_size=64, num_layers=2))
    task.metadata = data.metadata
    task.build(task.metadata)
    optimizer = torch.optim.Adam(task.parameters(), fused=True)
    loader = data.train_dataloader()
    epochs = itertools.chain.from_iterable(itertools.repeat(loader))

    def step(batch: Any) -> Tensor:  # noqa: ANN401
        total, count = task.loss(batch)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
        return total

    times = []
    for _ in range(steps):
        start = time.process_time()
        batch = next(epochs)
        read = time.process_time()
        step(batch)
        times.append((read - start, time.process_time() - read))
    loading, training = (1e3 * statistics.median(column) for column in zip(*times[2:], strict=True))
    own, mapped = memory()
    Recorder("sequences").add({
        "data": name, "steps": sum(SIZES[name][0]), "rows per batch": batch.inputs.size(0),
        "steps per batch": batch.inputs.size(1), "loader ms": loading, "network ms": training,
        "loader share": loading / (loading + training), "own MB": own, "mapped MB": mapped,
    })  # fmt: skip


class EpochParts(Profiler):
    """Adds up the CPU time of the parts of each training epoch, validation included.

    Attributes:
        epochs: Seconds of each epoch, in all ("epoch"), "waiting" and in the "network".
    """

    parts = (
        ("run_training_epoch", "epoch"), ("dataloader_next", "waiting"), ("val_next", "waiting"),
        ("run_training_batch", "network"), (".validation_step", "network"),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[defaultdict[str, float]] = [defaultdict(float)]
        self._starts: dict[str, float] = {}

    def _part(self, action: str) -> str | None:
        return next((part for end, part in self.parts if action.endswith(end)), None)

    def start(self, action_name: str) -> None:
        if self._part(action_name):
            self._starts[action_name] = time.process_time()

    def stop(self, action_name: str) -> None:
        if action_name not in self._starts or not (part := self._part(action_name)):
            return
        seconds = time.process_time() - self._starts.pop(action_name)
        # Before training, a few validation steps are a test.
        if "run_training_epoch" in self._starts or part == "epoch":
            self.epochs[-1][part] += seconds
        if part == "epoch":
            self.epochs.append(defaultdict(float))


def train(config: str, options: Sequence[str], epochs: int, folder: str, is_told: bool) -> None:
    """Trains on a configuration, and prints the row of an epoch if ``is_told``."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    cli = build(
        [
            f"--config={config}", f"--trainer.max_epochs={epochs}",
            f"--trainer.default_root_dir={folder}", "--trainer.enable_progress_bar=false",
            "--trainer.enable_model_summary=false", *options,
        ],
        run=False,
    )  # fmt: skip
    parts = EpochParts()
    trainer: Any = cli.trainer  # whose annotation lacks the profiler
    trainer.profiler = parts
    seed_everything(1, verbose=False)
    trainer.fit(cli.model, datamodule=cli.datamodule)
    if not is_told:
        return
    measured = parts.epochs[1:-1]  # without the first one, which reads the cache from the disk
    total, waiting, network = (
        statistics.fmean(epoch[part] for epoch in measured)
        for part in ("epoch", "waiting", "network")
    )
    own, mapped = memory()
    Recorder("loading").add({
        "data": Path(config).stem, "batches": trainer.num_training_batches,
        "epoch ms": 1e3 * total, "waiting share": waiting / total, "network share": network / total,
        "rest share": 1 - (waiting + network) / total, "own MB": own, "mapped MB": mapped,
    })  # fmt: skip


def alone(function: Callable[..., object], *args: object) -> None:
    """Calls a function in a process of its own, forked because starting Python takes longer."""
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(process.exitcode)


def main() -> None:
    """Prints a table."""
    formatter = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--steps", type=int, default=200, help="training steps to measure")
    parser.add_argument("--config", help="configuration to train on, in place of sequences")
    parser.add_argument(
        "--epochs", type=int, default=11, help="epochs to train with --config, at least 2"
    )
    args, options = parser.parse_known_args()
    if options and not args.config:
        parser.error(f"options of train.py need --config, got {' '.join(options)}")
    if args.epochs < 2:
        parser.error(f"--epochs must be at least 2, got {args.epochs}")
    torch.set_num_threads(1)
    extension.load("cpu")
    if args.config:
        with tempfile.TemporaryDirectory() as folder:
            alone(train, args.config, options, 1, folder, False)
            alone(train, args.config, options, args.epochs, folder, True)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SRULIGHT_CACHE"] = f"{folder}/cache"
        for name in SIZES:
            # The first process computes the arrays; the second one maps them.
            alone(prepare, name, Path(folder))
            alone(measure, name, Path(folder), args.steps)


if __name__ == "__main__":
    main()
