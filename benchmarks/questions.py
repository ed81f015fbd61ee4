"""Compares encoders in question answering, with the same training time for each.

    python benchmarks/questions.py --root FOLDER --out FOLDER --minutes 20

The benchmark trains the reader of configs/squad.yaml with Adam, from random word vectors, on one
file of SQuAD. A tenth of its articles serve to choose the checkpoint, and a fifth to test it, so
the results compare encoders but are not comparable to published SQuAD scores. Every reader trains
for as many epochs as fit into the given time, which one measured epoch determines. The learning
rate falls to zero in the last epoch. Afterwards the readers take turns to train on some batches,
to measure the share of the time that the encoders take, forward and backward.

The output folder receives a table, a plot of the validation F1 over the training time, and sample
answers. With --jobs 2, two readers train in parallel, each with half of the cores. Readers that the
folder already contains are not trained again.

Options that are not listed below are passed on to train.py.
"""

import argparse
import statistics
import time
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from trainings import ROOT, Run, draw_progress, fit_for, measure, side_by_side, threads_each

from srulight.checkpoint import load
from srulight.tasks.question_answering.corpora.squad import Squad
from srulight.tasks.question_answering.data import QuestionAnsweringData
from srulight.tasks.question_answering.task import QuestionAnswering

# The class, the number of layers, and further options.
ENCODERS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "SRU, 2 layers": ("SRU", 2, ()),
    "SRU, 4 layers": ("SRU", 4, ()),
    "SRU, 6 layers": ("SRU", 6, ()),
    "LSTM, 3 layers": ("LSTM", 3, ()),
    "GRU, 3 layers": ("GRU", 3, ()),
    "QRNN, 4 layers": ("QRNN", 4, ()),
}
PARTS = (0.1, 0.2)  # shares of the articles for validation and for the test
BATCHES = 12  # number of batches to time
TURNS = 3
SAMPLES = 10


def train(name: str, args: argparse.Namespace) -> Run:
    """Trains a reader for the given time."""
    cls, layers, more = ENCODERS[name]
    folder = args.out / "".join(c for c in name if c.isalnum())
    return fit_for(
        args.minutes, folder, "val/f1", f"--config={ROOT / 'configs' / 'squad.yaml'}",
        f"--data.root={args.root}", "--data.corpus=Squad", f"--data.corpus.train={args.file}",
        "--data.corpus.val=null",
        f"--data.corpus.val_fraction={PARTS[0]}", f"--data.corpus.test_fraction={PARTS[1]}",
        "--model.tuned_words=null", "--trainer.accelerator=cpu",
        "--model.optimizer=torch.optim.Adam", "--model.optimizer.lr=0.002",
        "--model.optimizer.fused=true", "--model.scheduler=Cosine",
        "--model.scheduler.steps=2000", "--model.scheduler.steps={steps}",
        f"--model.layers.document={layers}", f"--model.layers.question={layers}",
        f"--model.encoder={cls}", "--model.encoder.hidden_size=128",
        "--model.encoder.num_layers=1", "--model.encoder.bidirectional=true", *more, *args.options,
        threads=threads_each(args.jobs),
    )  # fmt: skip


class Clock:
    """Adds up the seconds that modules take forward and backward on a CPU."""

    def __init__(self, *modules: nn.Module) -> None:
        self.seconds = 0.0
        for module in modules:
            module.register_forward_pre_hook(self._start)
            module.register_forward_hook(self._stop)
            module.register_full_backward_pre_hook(self._start)
            module.register_full_backward_hook(self._stop)

    def _start(self, *_: object) -> None:
        self._begun = time.perf_counter()

    def _stop(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun


def share(task: QuestionAnswering, data: QuestionAnsweringData) -> float:
    """Returns the share of the time of a training step that the encoders take."""
    task.train()
    optimizer = torch.optim.Adam(task.parameters(), fused=True)
    clock = Clock(task.reader.document, task.reader.question)
    start = time.perf_counter()
    for number, batch in enumerate(islice(data.train_dataloader(), BATCHES)):
        optimizer.zero_grad()
        task.training_step(batch, number).backward()
        optimizer.step()
    return clock.seconds / (time.perf_counter() - start)


def main() -> None:
    """Trains the readers and writes the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder with the file")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the runs and the results"
    )
    parser.add_argument(
        "--file", default="dev-v1.1.json", help="name of a file in SQuAD format (%(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=20, help="training time per reader, in minutes"
    )
    parser.add_argument("--jobs", type=int, default=1, help="number of readers trained in parallel")
    parser.add_argument(
        "--encoders", nargs="+", default=ENCODERS, choices=ENCODERS, help="encoders to train"
    )
    args, rest = parser.parse_known_args()
    args.options = rest
    trained = side_by_side(args.encoders, lambda name: train(name, args), args.jobs)
    draw_progress(trained, "val/f1", args.out / "curves.png", "F1, validation articles")

    data = QuestionAnsweringData(
        Squad(args.file, val_fraction=PARTS[0], test_fraction=PARTS[1]), root=str(args.root)
    )
    data.setup()
    test = data.corpus.read(args.root).test
    assert test is not None
    asked = [(p.context, question) for p in test for question in p.questions]
    asked = asked[:: len(asked) // SAMPLES][:SAMPLES]
    samples = [[f"{q.text} | {q.answers[0].text}" for _, q in asked]]
    lines = [
        "| encoder | parameters of the reader | epochs | s / epoch "
        "| s / epoch in encoders | test EM | test F1 | best val F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    torch.set_num_threads(threads_each(args.jobs))
    shares: dict[str, list[float]] = {name: [] for name in trained}
    for _ in range(TURNS):
        for name, run in trained.items():
            task = load(run.best)
            assert isinstance(task, QuestionAnswering)
            shares[name].append(share(task, data))
    for name, run in trained.items():
        task = load(run.best)
        assert isinstance(task, QuestionAnswering)
        found = task.predict([(context, question.text) for context, question in asked])
        samples.append([name, *(f"{best.text} ({best.probability:.2f})" for (best,) in found)])
        exact, f1 = measure(run.best, "exact_match", "f1")
        size = sum(p.numel() for p in task.reader.parameters())
        part = statistics.median(shares[name]) * run.seconds
        lines.append(
            f"| {name} | {size:,} | {len(run.rows)} | {run.seconds:.0f} | {part:.0f} "
            f"| {exact:.1f} | {f1:.1f} | {max(run.values('val/f1')):.1f} |"
        )
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    text = "\n\n".join("\n".join(one) for one in samples)
    (args.out / "samples.txt").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
