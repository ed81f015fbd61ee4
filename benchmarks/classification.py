"""Compares the training time and the test metrics of the encoders on one configuration.

    python benchmarks/classification.py                                  embedded data
    python benchmarks/classification.py --config configs/sst_sentences.yaml --root FOLDER
    python benchmarks/classification.py --config configs/jhmdb.yaml --metrics accuracy macro_f1 ...

All encoders train with the same settings. With ``--rounds`` above 1 they take turns, so that a busy
moment of the machine does not slow down only one of them. The reported time is the median over all
epochs, without the first epoch of each run. Options that are not listed below go to train.py.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENCODERS = ("sru", "lstm", "gru", "qrnn", "qrnn_highway", "cnn", "bag_of_words")


def train(encoder: str, seed: int, args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Trains and tests one encoder.

    Returns:
        The seconds of each epoch, and the test metrics of the best checkpoint.
    """
    name, *settings = encoder.split(",")
    preset = ROOT / "configs" / "encoders" / f"{name}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, str(ROOT / "train.py"), "fit", f"--config={args.config}",
            f"--model.encoder={preset if preset.exists() else name}",
            *(f"--model.encoder.{setting}" for setting in settings),
            f"--trainer.max_epochs={args.epochs}", f"--trainer.default_root_dir={folder}",
            f"--seed_everything={seed}", f"--data.seed={seed}",
            "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
            *args.options,
        ]  # fmt: skip
        if args.root:
            command.append(f"--data.root={args.root}")
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds = [float(s) for s in re.findall(r"epoch \d+ \((\d+\.\d+) s\)", out)]
        test = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), "test", "--ckpt_path=best",
             f"--trainer.default_root_dir={folder}"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        found = dict(re.findall(r"test/(\w+) (-?\d+\.\d+)", test))
        return seconds, [float(found[metric]) for metric in args.metrics]


def main() -> None:
    """Runs every encoder, prints a table and, on request, draws a picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", default=ROOT / "configs" / "quickstart.yaml", type=Path)
    parser.add_argument("--root", help="folder that holds the data")
    parser.add_argument(
        "--encoders",
        nargs="+",
        default=ENCODERS,
        help="presets in configs/encoders, with their own settings, or names of classes, with the "
        "settings of the configuration; settings may follow, as in SRU,bidirectional=true",
    )
    parser.add_argument(
        "--metrics", nargs="+", default=["accuracy"], help="test metrics to report, without test/"
    )
    parser.add_argument("--epochs", type=int, default=4, help="number of epochs per run")
    parser.add_argument(
        "--rounds", type=int, default=1, help="runs per encoder, with the seeds 1, 2, ..."
    )
    parser.add_argument(
        "--plot", type=Path, help="picture to draw of time and accuracy (.png, .svg)"
    )
    args, options = parser.parse_known_args()
    args.options = options
    seconds: dict[str, list[float]] = {name: [] for name in args.encoders}
    test: dict[str, list[list[float]]] = {name: [] for name in args.encoders}
    for seed in range(1, args.rounds + 1):
        for name in args.encoders:
            times, measured = train(name, seed, args)
            seconds[name] += times[1:] or times
            test[name].append(measured)
            print(f"{name} seed {seed}: test {measured}", file=sys.stderr)
    print(f"| encoder | s / epoch | {' | '.join(args.metrics)} |")
    print("|---" * (2 + len(args.metrics)) + "|")
    for name in args.encoders:
        cells = [_spread(values) for values in zip(*test[name], strict=True)]
        print(f"| {name} | {statistics.median(seconds[name]):.2f} | {' | '.join(cells)} |")
    if args.plot:
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        firsts = {name: [values[0] for values in runs] for name, runs in test.items()}
        plot(args.plot, medians, firsts, args.metrics[0])


def _spread(values: Sequence[float]) -> str:
    """Formats the mean over the runs and, if there are several, the standard deviation."""
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def plot(
    path: Path, seconds: dict[str, float], measured: dict[str, list[float]], metric: str
) -> None:
    """Draws a test metric of each encoder over its training time, as a multiple of the shortest.

    Args:
        path: Picture to write.
        seconds: Median duration of an epoch of each encoder.
        measured: Test metric of each run of each encoder; bars span all runs.
        metric: Name of the metric.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    shortest = min(seconds.values())
    for name, time in seconds.items():
        values = measured[name]
        mean = statistics.mean(values)
        errors = [[mean - min(values)], [max(values) - mean]]
        axes.errorbar(time / shortest, mean, yerr=errors, fmt="o", markersize=8, capsize=3)
        axes.annotate(
            name, (time / shortest, mean), xytext=(9, -4), textcoords="offset points", fontsize=11
        )
    axes.set_xlabel("training time per epoch, relative to the fastest encoder")
    axes.set_ylabel(f"test {metric}")
    axes.margins(x=0.15, y=0.1)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
