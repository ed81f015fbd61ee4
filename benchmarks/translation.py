"""Translation with every translator: as many parameters, and as many minutes, for each.

    python benchmarks/translation.py --root FOLDER --out FOLDER --minutes 20

Trains the model of configs/multi30k.yaml with each translator, for as many steps as fit into the
time (some steps are measured first; the learning rate falls to zero with the last), tests its best
checkpoint with beams of 1 and 5, and times how fast that translates the test sentences. The output
folder gets a table, a picture of BLEU in validation over minutes, and samples.

Options not listed below go to train.py.
"""

import argparse
import csv
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from srulight.checkpoint import load
from srulight.data import ParallelText
from srulight.tasks import Translation

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "multi30k.yaml"
TRANSLATORS = {
    "SRU": None,
    **{
        name: ROOT / "configs" / "translators" / f"{file}_multi30k.yaml"
        for name, file in (
            ("LSTM", "lstm"),
            ("GRU", "gru"),
            ("Transformer", "transformer"),
            ("Transformer + SRU", "transformer_sru"),
        )
    },
}
BEAMS = (1, 5)
SAMPLES = 10
PROBE = 60  # steps that are measured first


class Result(NamedTuple):
    """What came of one translator.

    Attributes:
        parameters: Of the translator, without embeddings.
        steps: Of the optimiser.
        seconds: Of an epoch of training.
        curve: Minutes and BLEU in validation.
        scores: BLEU and chrF of the test, by beam.
        speeds: Test sentences a second, by beam.
        samples: The first test sentences, translated with the largest beam.
    """

    parameters: int
    steps: int
    seconds: float
    curve: list[tuple[float, float]]
    scores: dict[int, tuple[float, float]]
    speeds: dict[int, float]
    samples: list[str]


def fit(name: str, args: argparse.Namespace, folder: Path, *options: str) -> list[dict[str, str]]:
    """Trains once; gives the rows of the log."""
    translator = TRANSLATORS[name]
    subprocess.run(
        [
            sys.executable, str(ROOT / "train.py"), "fit", f"--config={CONFIG}",
            f"--data.root={args.root}", f"--trainer.default_root_dir={folder}",
            "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
            "--trainer.max_epochs=-1", *args.options, *options,
            *([] if translator is None else [f"--model.translator={translator}"]),
        ],
        check=True,
    )  # fmt: skip
    logs = sorted(folder.glob("version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    with logs[-1].open() as file:
        return list(csv.DictReader(file))


def seconds_a_step(name: str, args: argparse.Namespace) -> float:
    """Measures some steps; the first ones are left out."""
    options = (
        "--trainer.limit_val_batches=1", "--data.val_translations=1",
        f"--trainer.max_steps={PROBE}", f"--trainer.limit_train_batches={PROBE // 4}",
    )  # fmt: skip
    rows = fit(name, args, args.out / f"probe-{name}", *options)
    ends = [float(row["train/seconds"]) for row in rows if row.get("train/seconds")]
    if len(ends) < 2:
        raise SystemExit("the log has no times to measure by")
    return (ends[-1] - ends[0]) / (len(ends) - 1) / (PROBE // 4)


def measure(name: str, args: argparse.Namespace) -> Result:
    """Trains, tests and times a translator."""
    steps = int(60 * args.minutes / seconds_a_step(name, args))
    folder = args.out / name
    rows = fit(
        name, args, folder, f"--trainer.max_steps={steps}", f"--model.scheduler.steps={steps}"
    )
    measured = [row for row in rows if row.get("val/bleu")]
    ends = [float(row["train/seconds"]) for row in measured]
    epochs = [end - before for end, before in zip(ends[1:], ends[:-1], strict=True)]
    best = max(folder.glob("version_*/checkpoints/best.ckpt"), key=lambda p: p.stat().st_mtime)
    task = load(best)
    assert isinstance(task, Translation)
    test = ParallelText(val="raw/val", train=["raw/train"], test=args.test).read(args.root).test
    assert test is not None
    sources = [pair.source for pair in test]
    scores, speeds, samples = {}, {}, []
    for beam in BEAMS:
        scores[beam] = score(best, beam)
        task.search_with(beam, *task.penalties)
        start = time.perf_counter()
        translated = task.predict(sources)
        speeds[beam] = len(sources) / (time.perf_counter() - start)
        samples = [best_of[0].text for best_of in translated[:SAMPLES]]
    return Result(
        sum(p.numel() for p in task.translator.parameters()), steps, statistics.median(epochs),
        [(end / 60, float(row["val/bleu"])) for end, row in zip(ends, measured, strict=True)],
        scores, speeds, samples,
    )  # fmt: skip


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


def write(results: dict[str, Result], args: argparse.Namespace) -> None:
    """Writes the table, the picture and the samples."""
    from matplotlib.figure import Figure

    lines = [
        "| translator | parameters | steps | s / epoch | BLEU greedy | BLEU beam 5 | chrF beam 5 "
        "| sentences / s greedy | beam 5 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, r in results.items():
        lines.append(
            f"| {name} | {r.parameters:,} | {r.steps:,} | {r.seconds:.0f} | {r.scores[1][0]:.1f} "
            f"| {r.scores[5][0]:.1f} | {r.scores[5][1]:.1f} | {r.speeds[1]:.0f} "
            f"| {r.speeds[5]:.0f} |"
        )
        axes.plot(*zip(*r.curve, strict=True), label=name)
    print(lines[-1], flush=True)
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    axes.set(xlabel="minutes of training", ylabel="BLEU, 200 validation sentences, greedy")
    axes.legend()
    figure.savefig(args.out / "curves.png", dpi=120)
    samples = "".join(f"{name}\n" + "\n".join(r.samples) + "\n\n" for name, r in results.items())
    (args.out / "samples.txt").write_text(samples, encoding="utf-8")


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of Multi30k's raw files")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and results")
    parser.add_argument("--minutes", type=float, default=20, help="of training, for each")
    parser.add_argument("--test", default="raw/test_2016_flickr", help="stem of the test files")
    parser.add_argument("--translators", nargs="+", default=TRANSLATORS, choices=TRANSLATORS)
    args, rest = parser.parse_known_args()
    args.options = rest
    results: dict[str, Result] = {}
    for name in args.translators:
        results[name] = measure(name, args)
        write(results, args)  # after each, so that an interrupted benchmark leaves what it has


if __name__ == "__main__":
    main()
