"""Seconds an epoch, and test accuracy, of every encoder in the same setting.

    python benchmarks/classification.py                                  embedded data
    python benchmarks/classification.py --config configs/sst_sentences.yaml --root FOLDER

With ``--rounds`` above 1 the encoders take turns, so that a busy moment of the machine does not
fall on one of them alone; the time is the median over all epochs but each run's first. Options not
listed below go to train.py.
"""

import argparse
import csv
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENCODERS = ("sru", "lstm", "gru", "qrnn", "qrnn_highway", "cnn", "bag_of_words")


def train(encoder: str, seed: int, args: argparse.Namespace) -> tuple[list[float], float, float]:
    """Trains and tests once.

    Returns:
        Seconds of each epoch, best validation accuracy, test accuracy of that checkpoint.
    """
    preset = ROOT / "configs" / "encoders" / f"{encoder}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, str(ROOT / "train.py"), "fit", f"--config={args.config}",
            f"--model.encoder={preset if preset.exists() else encoder}",
            f"--trainer.max_epochs={args.epochs}", f"--trainer.default_root_dir={folder}",
            f"--seed_everything={seed}", f"--data.seed={seed}",
            "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
            *args.options,
        ]  # fmt: skip
        if args.root:
            command.append(f"--data.root={args.root}")
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds = [float(s) for s in re.findall(r"epoch \d+ \((\d+\.\d+) s\)", out)]
        log = Path(folder) / "version_0" / "metrics.csv"
        with log.open() as file:
            accuracies = [
                float(r["val/accuracy"]) for r in csv.DictReader(file) if r["val/accuracy"]
            ]
        test = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), "test", "--ckpt_path=best",
             f"--trainer.default_root_dir={folder}"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        found = re.search(r"test/accuracy\D+(\d\.\d+)", test)
        return seconds, max(accuracies), float(found[1]) if found else float("nan")


def main() -> None:
    """Runs every encoder and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", default=ROOT / "configs" / "quickstart.yaml", type=Path)
    parser.add_argument("--root", help="folder of the data")
    parser.add_argument(
        "--encoders",
        nargs="+",
        default=ENCODERS,
        help="presets of configs/encoders (their settings), or class names (the configuration's)",
    )
    parser.add_argument("--epochs", type=int, default=4, help="epochs of each run")
    parser.add_argument(
        "--rounds", type=int, default=1, help="runs of each encoder, seeds 1, 2, ..."
    )
    args, options = parser.parse_known_args()
    args.options = options
    seconds: dict[str, list[float]] = {name: [] for name in args.encoders}
    val: dict[str, list[float]] = {name: [] for name in args.encoders}
    test: dict[str, list[float]] = {name: [] for name in args.encoders}
    for seed in range(1, args.rounds + 1):
        for name in args.encoders:
            times, best, measured = train(name, seed, args)
            seconds[name] += times[1:] or times
            val[name].append(best)
            test[name].append(measured)
            print(f"{name} seed {seed}: val {best:.4f}, test {measured:.4f}", file=sys.stderr)
    print("| encoder | s / epoch | val accuracy | test accuracy |\n|---|---|---|---|")
    for name in args.encoders:
        print(
            f"| {name} | {statistics.median(seconds[name]):.2f} | "
            f"{100 * statistics.mean(val[name]):.1f} | {100 * statistics.mean(test[name]):.1f} |"
        )


if __name__ == "__main__":
    main()
