"""Translation with every translator: as many parameters, and as many minutes, for each.

    python benchmarks/translation.py --root FOLDER --out FOLDER --minutes 20

Trains the model of configs/multi30k.yaml with each translator, for as many epochs as fit into the
time (one is measured first; the learning rate falls to zero with the last), tests its best
checkpoint with beams of 1 and 5, and times how fast that translates the test sentences, in turns
with the others. The output folder gets a table, a picture of BLEU in validation over minutes, and
samples. With --jobs 2 two are trained side by side, each with half of the cores. What the folder
has already is not trained again.

Options not listed below go to train.py.
"""

import argparse
import csv
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from srulight.checkpoint import load
from srulight.data import ParallelText
from srulight.tasks import Translation

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "multi30k.yaml"
NARROW = ("--model.embedding_size=144", "--model.optimizer.lr=0.003")
# Each with a learning rate that suits it, of 0.001 to 0.006 that were tried for a few epochs.
TRANSLATORS: dict[str, tuple[str, ...]] = {
    "SRU": (),
    "LSTM": ("--model.translator=lstm", "--model.optimizer.lr=0.004"),
    "GRU": ("--model.translator=gru", "--model.optimizer.lr=0.002"),
    "Transformer": ("--model.translator=transformer", *NARROW),
    "Transformer + SRU": ("--model.translator=transformer_sru", *NARROW),
}
BEAMS = (1, 5)
SAMPLES = 10
TURNS = 3  # times that each translator is timed


class Trained(NamedTuple):
    """A translator that was trained.

    Attributes:
        epochs: How many.
        seconds: Of an epoch of training, the median.
        curve: Minutes and BLEU in validation.
        best: Its best checkpoint.
    """

    epochs: int
    seconds: float
    curve: list[tuple[float, float]]
    best: Path


def options(name: str) -> list[str]:
    """Gives the options that choose a translator."""
    presets = ROOT / "configs" / "translators"
    return [
        f"--model.translator={presets / option.split('=')[1]}_multi30k.yaml"
        if option.startswith("--model.translator=")
        else option
        for option in TRANSLATORS[name]
    ]


def fit(name: str, args: argparse.Namespace, folder: Path, *more: str) -> list[dict[str, str]]:
    """Trains once; gives a row for each epoch."""
    threads = max(1, len(os.sched_getaffinity(0)) // args.jobs)
    subprocess.run(
        [
            sys.executable, str(ROOT / "train.py"), "fit", f"--config={CONFIG}",
            f"--data.root={args.root}", f"--trainer.default_root_dir={folder}",
            "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
            *options(name), *args.options, *more,
        ],
        check=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    return log(folder)


def train(name: str, args: argparse.Namespace) -> Trained:
    """Trains a translator for the time, or reads how it was trained."""
    folder = args.out / name.replace(" ", "")
    done = folder / "done"
    if not done.exists():
        # One translated sentence is enough there.
        few = ("--trainer.max_epochs=1", "--data.val_translations=1")
        (first,) = fit(name, args, folder / "probe", *few)
        epochs = max(1, round(60 * args.minutes / float(first["train/seconds"])))
        steps = epochs * (int(first["step"]) + 1)
        fit(
            name, args, folder, f"--trainer.max_epochs={epochs}", f"--model.scheduler.steps={steps}"
        )
        done.touch()
    rows = log(folder)
    ends = [float(row["train/seconds"]) for row in rows]
    seconds = [end - before for end, before in zip(ends, [0.0, *ends], strict=False)]
    curve = [(end / 60, float(row["val/bleu"])) for end, row in zip(ends, rows, strict=True)]
    best = newest(folder, "checkpoints/best.ckpt")
    return Trained(len(rows), statistics.median(seconds), curve, best)


def newest(folder: Path, name: str) -> Path:
    """Gives the file of that name of the last run."""
    return max(folder.glob(f"version_*/{name}"), key=lambda path: path.stat().st_mtime)


def log(folder: Path) -> list[dict[str, str]]:
    """Gives a row for each epoch of the last run."""
    with newest(folder, "metrics.csv").open() as file:
        return [row for row in csv.DictReader(file) if row.get("val/bleu")]


def score(checkpoint: Path, beam: int) -> tuple[float, float]:
    """Gives BLEU and chrF of the test sentences."""
    out = subprocess.run(
        [
            sys.executable, str(ROOT / "train.py"), "test", f"--ckpt_path={checkpoint}",
            f"--model.beam_size={beam}", "--trainer.enable_progress_bar=false",
        ],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = [re.search(rf"test/{name}\D+(\d+\.\d+)", out) for name in ("bleu", "chrf")]
    bleu, chrf = (float(match[1]) if match else float("nan") for match in found)
    return bleu, chrf


def speeds(tasks: dict[str, Translation], sources: list[str]) -> dict[tuple[str, int], float]:
    """Gives the sentences a second of each translator and beam: the best of some turns."""
    found: dict[tuple[str, int], float] = {}
    for _ in range(TURNS):
        for name, task in tasks.items():
            for beam in BEAMS:
                task.search_with(beam, *task.penalties)
                start = time.perf_counter()
                task.predict(sources)
                speed = len(sources) / (time.perf_counter() - start)
                found[name, beam] = max(speed, found.get((name, beam), 0.0))
    return found


def table(trained: dict[str, Trained], args: argparse.Namespace) -> None:
    """Writes the table and the samples."""
    test = ParallelText(val="raw/val", train=["raw/train"], test=args.test).read(args.root).test
    assert test is not None
    pairs = list(test)
    tasks: dict[str, Translation] = {}
    for name, result in trained.items():
        task = load(result.best)
        assert isinstance(task, Translation)
        tasks[name] = task
    fast = speeds(tasks, [pair.source for pair in pairs])
    lines = [
        "| translator | parameters | epochs | s / epoch | BLEU greedy | BLEU beam 5 | chrF beam 5 "
        "| sentences / s greedy | beam 5 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    samples = [[f"{pair.source} | {pair.target}" for pair in pairs[:SAMPLES]]]
    for name, task in tasks.items():
        scores = [score(trained[name].best, beam) for beam in BEAMS]
        lines.append(
            f"| {name} | {sum(p.numel() for p in task.parameters()):,} | {trained[name].epochs} "
            f"| {trained[name].seconds:.0f} | {scores[0][0]:.1f} | {scores[1][0]:.1f} "
            f"| {scores[1][1]:.1f} | {fast[name, 1]:.0f} | {fast[name, 5]:.0f} |"
        )
        task.search_with(BEAMS[-1], *task.penalties)
        found = task.predict([pair.source for pair in pairs[:SAMPLES]])
        samples.append([name, *(best[0].text for best in found)])
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    text = "\n\n".join("\n".join(one) for one in samples)
    (args.out / "samples.txt").write_text(text + "\n", encoding="utf-8")


def draw(trained: dict[str, Trained], path: Path) -> None:
    """Draws BLEU in validation over the minutes of training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, result in trained.items():
        axes.plot(*zip(*result.curve, strict=True), label=name)
    axes.set(xlabel="minutes of training", ylabel="BLEU, 200 validation sentences, greedy")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of Multi30k's files")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and results")
    parser.add_argument("--minutes", type=float, default=20, help="of training, for each")
    parser.add_argument("--jobs", type=int, default=1, help="how many are trained side by side")
    parser.add_argument("--test", default="raw/test_2016_flickr", help="stem of the test files")
    parser.add_argument("--translators", nargs="+", default=TRANSLATORS, choices=TRANSLATORS)
    args, rest = parser.parse_known_args()
    args.options = rest
    with ThreadPoolExecutor(args.jobs) as pool:
        results = pool.map(lambda name: train(name, args), args.translators)
        trained = dict(zip(args.translators, results, strict=True))
    draw(trained, args.out / "curves.png")
    table(trained, args)


if __name__ == "__main__":
    main()
