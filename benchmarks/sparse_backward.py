"""Measures what sparse backward products save, and what they cost in accuracy.

    python benchmarks/sparse_backward.py time
        the time of the backward pass with sparse products, divided by that with dense ones
    python benchmarks/sparse_backward.py train --config configs/sst_sentences.yaml --epochs 10
        the validation loss of trainings with different settings, and their training time

``time`` runs layers of random numbers in one process, which take turns. The column "norms" is the
time of the norms of all rows of the gradient, divided by that of the two products that follow.

``train`` trains with every setting and every seed as ``train.py fit`` does, one after the other. A
training whose log is complete is not repeated. A setting is "dense" or settings of
``sparse_backward`` after each other, such as ``kind=units,share=0.5``; ``dense_epochs=3`` makes the
last 3 epochs dense. Other options, such as --data.root=FOLDER, are those of ``fit``. The first
table has the means and standard deviations over the seeds, the ratio of the training times
(without validation), and how much of the training time of the first setting it took to reach the
loss that this setting had at its end. The second table has the share of the gradient that was
kept, by layer and epoch, of the first seed.

With --clock cpu, times are those of the processor for this process alone, for machines that are
busy; use one thread then.
"""

import argparse
import csv
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from srulight import GRU, LSTM, QRNN, SRU
from srulight.bench.tables import Recorder, Row
from srulight.bench.timing import Run, rounds, warm_up
from srulight.encoders import Encoder, SRUpp
from srulight.ops import SparseSettings

ENCODERS: dict[str, type[Encoder]] = {c.__name__: c for c in (SRU, SRUpp, QRNN, LSTM, GRU)}
SETTINGS = ("dense", "share=0.5", "share=0.25", "share=0.25,dense_epochs=2")


def backward_times(
    make: type[Encoder], size: int, choices: Sequence[str], args: argparse.Namespace
) -> dict[str, float]:
    """Returns the median seconds of the backward pass of one layer with each setting."""
    x = torch.randn(args.batch, args.steps, size, requires_grad=True)
    losses = {}
    for choice in choices:
        torch.manual_seed(0)
        encoder = make(size, size, 1, sparse_backward=settings(choice))
        # Steps whose gradients differ in size, as in a training.
        scale = torch.randn(args.batch, args.steps, 1).exp()
        losses[choice] = ((encoder(x) * scale).square().sum(), [x, *encoder.parameters()])

    def run(loss: Tensor, leaves: list[Tensor]) -> None:
        torch.autograd.grad(loss, leaves, retain_graph=True)

    runs: dict[str, Run] = {name: partial(run, *pair) for name, pair in losses.items()}
    warm = {name: warm_up(one) for name, one in runs.items()}
    each = [t for _, t in rounds(runs, warm, args.seconds, 5, clock=args.clock)]
    return {name: statistics.median(t[name] for t in each) for name in runs}


def settings(choice: str) -> SparseSettings:
    """Reads a setting, without its ``dense_epochs``."""
    pairs = dict(part.split("=") for part in choice.split(",") if "=" in part)
    numbers = {k: float(v) for k, v in pairs.items() if k in ("share", "threshold")}
    return SparseSettings(pairs.get("kind", "rows"), **numbers)  # type: ignore[arg-type]


def norm_share(size: int, args: argparse.Namespace) -> float:
    """Returns the time of the norms of an SRU's gradient, divided by that of its two products."""
    grad = torch.randn(args.batch * args.steps, 3 * size)
    x, weight = torch.randn(len(grad), size), torch.randn(3 * size, size)
    runs: dict[str, Run] = {
        "norms": lambda: torch.linalg.vector_norm(grad, dim=1),
        "products": lambda: (grad @ weight, grad.T @ x),
    }
    warm = {name: warm_up(one) for name, one in runs.items()}
    each = [t for _, t in rounds(runs, warm, args.seconds / 4, 5, clock=args.clock)]
    return statistics.median(t["norms"] / t["products"] for t in each)


def time_layers(args: argparse.Namespace) -> None:
    """Prints the times of the backward passes of layers."""
    torch.set_num_threads(args.threads)
    kinds = ("rows", "units")
    choices = ["dense", *(f"kind={k},share={s}" for k in kinds for s in (0.5, 0.25))]
    table = Recorder("time")
    for name in args.encoders:
        for size in args.sizes:
            times = backward_times(ENCODERS[name], size, choices, args)
            row: Row = {"encoder": name, "size": str(size), "dense (ms)": 1e3 * times["dense"]}
            row |= {choice: times[choice] / times["dense"] for choice in choices[1:]}
            table.add(row | {"norms": norm_share(size, args) if name == "SRU" else None})


def fit(args: argparse.Namespace, choice: str, seed: int, more: Sequence[str]) -> Path:
    """Trains, unless it has been done, and returns the path of the log."""
    folder = args.output / re.sub(r"[^\w.=,]", "_", choice) / f"seed-{seed}"
    done = folder / "done"
    if done.is_file():
        return newest_log(folder)
    pairs = dict(part.split("=") for part in choice.split(",") if "=" in part)
    dense = int(pairs.pop("dense_epochs", 0))
    options = [f"--{part}.sparse_backward.{k}={v}" for part in args.parts for k, v in pairs.items()]
    if pairs:
        options += [
            "--trainer.callbacks+=SparseEpochs",
            f"--trainer.callbacks.epochs={args.epochs - dense}",
            "--trainer.callbacks.by_layer=true",
        ]
    command = [
        sys.executable, __file__, "fit", args.clock, "fit", f"--config={args.config}", *more,
        *options, f"--seed_everything={seed}",
        f"--trainer.max_epochs={args.epochs}", f"--trainer.default_root_dir={folder}",
        "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    done.touch()
    return newest_log(folder)


def newest_log(folder: Path) -> Path:
    """Returns the log of the last training in a folder; earlier ones were interrupted."""
    return max(folder.glob("version_*/metrics.csv"), key=lambda log: log.stat().st_mtime)


def column(log: Path, name: str) -> list[float]:
    """Returns the numbers in a column of a log."""
    with log.open(encoding="utf-8") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def spread(numbers: Sequence[float]) -> str:
    """Returns the mean and the standard deviation, as text."""
    found = f"{statistics.mean(numbers):.4f}"
    return f"{found} ± {statistics.stdev(numbers):.4f}" if len(numbers) > 1 else found


def seconds_until(log: Path, loss: float) -> float:
    """Returns the training time until the first validation with at most this loss; or infinity."""
    pairs = zip(column(log, "train/seconds"), column(log, "val/loss"), strict=True)
    return next((seconds for seconds, found in pairs if found <= loss), float("inf"))


def train(args: argparse.Namespace, more: Sequence[str]) -> None:
    """Trains with all settings and seeds, and prints what came out."""
    seeds = range(1, args.seeds + 1)
    logs: dict[str, list[Path]] = {choice: [] for choice in args.settings}
    for seed in seeds:  # settings take turns, so that a drift of the machine affects all alike
        for choice in args.settings:
            logs[choice].append(fit(args, choice, seed, more))
    table = Recorder("settings")
    base = logs[args.settings[0]]
    for choice, own in logs.items():
        losses = [column(log, "val/loss") for log in own]
        pairs = list(zip(own, base, strict=True))
        whole = [column(log, "train/seconds")[-1] for log in base]
        ratios = [column(log, "train/seconds")[-1] / t for log, t in zip(own, whole, strict=True)]
        reached = [
            seconds_until(first, min(column(log, "val/loss"))) / t
            for (log, first), t in zip(pairs, whole, strict=True)
        ]
        table.add({
            "setting": choice,
            "last val/loss": spread([found[-1] for found in losses]),
            "best val/loss": spread([min(found) for found in losses]),
            "time / first": statistics.median(ratios),
            "first reaches it at": statistics.median(reached),
        })  # fmt: skip
    shares = Recorder("shares")
    for choice, own in logs.items():
        with own[0].open(encoding="utf-8") as file:
            names = csv.DictReader(file).fieldnames or ()
        for name in sorted(name for name in names if name.startswith("train/kept_share_")):
            row: Row = {"setting": choice, "layer": name.rpartition("_")[2]}
            kept: Row = {
                f"epoch {i}": f"{share:.3f}" for i, share in enumerate(column(own[0], name))
            }
            if kept:
                shares.add(row | kept)


def fit_in_this_process(clock: str, arguments: list[str]) -> None:
    """Runs a command of srulight whose log counts the time of a clock."""
    from srulight.cli import main
    from srulight.training.callbacks import throughput

    if clock == "cpu":
        vars(throughput)["time"] = SimpleNamespace(perf_counter=time.process_time)
    main(arguments)


def main() -> None:
    """Reads the command line."""
    if sys.argv[1:2] == ["fit"]:
        fit_in_this_process(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["time", "train"])
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    layers = parser.add_argument_group("time")
    layers.add_argument("--encoders", nargs="+", choices=ENCODERS, default=["SRU", "QRNN"])
    layers.add_argument("--sizes", nargs="+", type=int, default=[256, 512], help="units")
    layers.add_argument("--batch", type=int, default=32, help="sequences")
    layers.add_argument("--steps", type=int, default=128, help="steps of each sequence")
    layers.add_argument("--threads", type=int, default=1)
    layers.add_argument("--seconds", type=float, default=10.0, help="time for each row")
    runs = parser.add_argument_group("train")
    runs.add_argument("--config", type=Path, default=Path("configs/sst_sentences.yaml"))
    runs.add_argument("--settings", nargs="+", default=SETTINGS, metavar="SETTING")
    runs.add_argument(
        "--parts", nargs="+", default=["model.encoder"], help="settings that hold encoders"
    )
    runs.add_argument("--epochs", type=int, default=10)
    runs.add_argument("--seeds", type=int, default=3, help="number of seeds, 1 to N")
    runs.add_argument("--output", type=Path, default=Path("runs/sparse_backward"))
    args, more = parser.parse_known_args()
    if args.what == "time":
        time_layers(args)
    else:
        train(args, more)


if __name__ == "__main__":
    main()
