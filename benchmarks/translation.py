"""Compares translators at equal parameters and equal training time.

    python benchmarks/translation.py --root FOLDER --out FOLDER --minutes 20

The benchmark trains the model of configs/multi30k.yaml with each translator, for as many epochs as
fit into the given time, which one measured epoch determines. The learning rate falls to zero in the
last epoch. The best checkpoint is tested with beams of 1 and 5. Then the translators take turns to
translate the test sentences, to measure their speed.

The output folder receives a table, a plot of the validation BLEU over the training time, and sample
translations. With --jobs 2, two translators train in parallel, each with half of the cores.
Translators that the folder already contains are not trained again.

Options that are not listed below are passed on to train.py.
"""

import argparse
import time
from pathlib import Path

from trainings import ROOT, Run, draw_progress, fit_for, measure, side_by_side, threads_each

from srulight.checkpoint import load
from srulight.tasks.translation.corpora.parallel_text import ParallelText
from srulight.tasks.translation.task import Translation

CONFIG = ROOT / "configs" / "multi30k.yaml"
NARROW = ("--model.embedding_size=144", "--model.optimizer.lr=0.003")
# The learning rates are the best of 0.001 to 0.006, each tried for a few epochs.
TRANSLATORS: dict[str, tuple[str, ...]] = {
    "SRU": (),
    "LSTM": ("--model.translator=lstm", "--model.optimizer.lr=0.004"),
    "GRU": ("--model.translator=gru", "--model.optimizer.lr=0.002"),
    "Transformer": ("--model.translator=transformer", *NARROW),
    "Transformer + SRU": ("--model.translator=transformer_sru", *NARROW),
}
BEAMS = (1, 5)
SAMPLES = 10
TURNS = 3  # number of times that each translator is timed


def train(name: str, args: argparse.Namespace) -> Run:
    """Trains a translator for the given time."""
    presets = ROOT / "configs" / "translators"
    chosen = [
        f"--model.translator={presets / option.split('=')[1]}_multi30k.yaml"
        if option.startswith("--model.translator=")
        else option
        for option in TRANSLATORS[name]
    ]
    return fit_for(
        args.minutes, args.out / name.replace(" ", ""), "val/bleu", f"--config={CONFIG}",
        f"--data.root={args.root}", "--model.scheduler.steps={steps}", *chosen, *args.options,
        threads=threads_each(args.jobs),
    )  # fmt: skip


def speeds(tasks: dict[str, Translation], sources: list[str]) -> dict[tuple[str, int], float]:
    """Returns the sentences per second of each translator and beam, the best of several turns."""
    found: dict[tuple[str, int], float] = {}
    for _ in range(TURNS):
        for name, task in tasks.items():
            for beam in BEAMS:
                task.search_with(beam_size=beam)
                start = time.perf_counter()
                task.predict(sources)
                speed = len(sources) / (time.perf_counter() - start)
                found[name, beam] = max(speed, found.get((name, beam), 0.0))
    return found


def table(trained: dict[str, Run], args: argparse.Namespace) -> None:
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
        run = trained[name]
        scores = [
            measure(run.best, "bleu", "chrf", options=(f"--model.search.beam_size={beam}",))
            for beam in BEAMS
        ]
        lines.append(
            f"| {name} | {sum(p.numel() for p in task.parameters()):,} | {len(run.rows)} "
            f"| {run.seconds:.0f} | {scores[0][0]:.1f} | {scores[1][0]:.1f} "
            f"| {scores[1][1]:.1f} | {fast[name, 1]:.0f} | {fast[name, 5]:.0f} |"
        )
        task.search_with(beam_size=BEAMS[-1])
        found = task.predict([pair.source for pair in pairs[:SAMPLES]])
        samples.append([name, *(best[0].text for best in found)])
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    text = "\n\n".join("\n".join(one) for one in samples)
    (args.out / "samples.txt").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Trains the translators and writes the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder with Multi30k's files")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the runs and the results"
    )
    parser.add_argument(
        "--minutes", type=float, default=20, help="training time per translator, in minutes"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="number of translators trained in parallel"
    )
    parser.add_argument(
        "--test", default="raw/test_2016_flickr",
        help="path of the test files in the root folder, without suffix (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--translators", nargs="+", default=TRANSLATORS, choices=TRANSLATORS,
        help="translators to train",
    )  # fmt: skip
    args, rest = parser.parse_known_args()
    args.options = rest
    trained = side_by_side(args.translators, lambda name: train(name, args), args.jobs)
    bleu = "BLEU, 200 validation sentences, greedy"
    draw_progress(trained, "val/bleu", args.out / "curves.png", bleu)
    table(trained, args)


if __name__ == "__main__":
    main()
