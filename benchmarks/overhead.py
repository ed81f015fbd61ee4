"""Measures the overhead of ``train.py fit`` over a plain training loop, and its parts.

    python benchmarks/overhead.py                            the table, a quarter of an hour
    python benchmarks/overhead.py tiny --profile --rounds 3  microseconds per step of every part

Sizes:
    classification  the setting of the SRU paper's Table 1: 2 layers of 128 units, fixed vectors of
                    300 features, 32 sentences of about 20 words
    tiny            8 features and 8 units, so that most of the time is overhead
    language        configs/language_model.yaml

Three contenders take turns in one process, with the same model, batches and optimizer: a plain loop
of forward, loss, backward and step; Lightning's Trainer without logger, progress bar, checkpoints
and callbacks; and ``fit`` with its defaults, whose progress bar is drawn to a terminal that shows
nothing. The benchmark times the training batches of the second epoch in CPU time, which excludes
other processes and includes the thread that draws the bar. The table has medians over the turns.
Ratios compare steps per second.
"""

import argparse
import contextlib
import gc
import logging
import os
import random
import statistics
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from srulight.runtime.allocator import tune_allocator

tune_allocator()  # before torch allocates, and for all contenders

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from lightning import Callback, Trainer, seed_everything  # noqa: E402
from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher  # noqa: E402
from lightning.pytorch.trainer import call  # noqa: E402
from rich.live import Live  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from srulight.bench.machine import describe, in_short  # noqa: E402
from srulight.commands.training import TrainingCLI, build  # noqa: E402
from srulight.data.samplers import BucketBatchSampler  # noqa: E402
from srulight.runtime.provenance import today, versions  # noqa: E402
from srulight.tasks.base import Task  # noqa: E402
from srulight.tasks.language_modeling.task import LanguageModeling  # noqa: E402
from srulight.tasks.metrics import MeanLoss  # noqa: E402

HEADS = "size|loop ms|Trainer ms|fit ms|loop / Trainer|extra us|loop / fit|extra us"
CONFIGS = Path(__file__).parents[1] / "configs"
EPOCHS = 2
SIZES = {
    "classification": [
        f"--config={CONFIGS}/sst_sentences.yaml", "--model.pooling=auto", "--data.corpus=Tables",
        *(f"--data.corpus.{name}={name}.tsv" for name in ("train", "val", "test")),
    ],
    "tiny": [
        f"--config={CONFIGS}/quickstart.yaml", "--data.corpus=Grammar",
        "--data.corpus.train_size=10000", "--model.embedding_size=8",
        "--model.encoder.hidden_size=8",
    ],
    "language": [f"--config={CONFIGS}/language_model.yaml"],
}  # fmt: skip


def write_corpus(path: Path, size: int) -> None:
    """Writes sentences with the lengths and the vocabulary size of SST-2."""
    rng = random.Random(0)
    words = [f"w{i}" for i in range(16_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    with path.open("w") as file:
        file.write("text\tlabel\n")
        for label in [0, 1] * (size // 2):
            length = min(max(round(rng.gauss(19.5, 9)), 2), 50)
            file.write(f"{' '.join(rng.choices(words, weights, k=length))}\t{label}\n")


class Clock(Callback):
    """Records when the batches of the last epoch start."""

    def __init__(self) -> None:
        self._starts: list[float] = []

    def on_train_epoch_start(self, *_: object) -> None:
        self._starts = []

    def on_train_batch_start(self, *_: object) -> None:
        self._starts.append(time.process_time())

    def seconds(self) -> float:
        """Returns the seconds per step between the starts of the first and the last batch."""
        return (self._starts[-1] - self._starts[0]) / (len(self._starts) - 1)


def loss_function(task: Task) -> Callable[[Any], Tensor]:
    """Returns a plain function from a batch to its loss."""
    if not isinstance(task, LanguageModeling):
        return lambda batch: F.cross_entropy(task(batch.inputs, batch.lengths), batch.targets)
    state: Tensor | None = None

    def language(batch: Any) -> Tensor:  # noqa: ANN401
        nonlocal state
        x = task.dropout(task.token_layers.embed(batch.tokens))
        features, new = task.encoder.forward_with_state(x, None if batch.is_first else state)
        state = new.detach()
        rows = task.dropout(features).flatten(0, 1)
        return task.token_layers.losses(rows, batch.targets.flatten()).mean()

    return language


def by_hand(cli: TrainingCLI) -> float:
    """Trains in a plain loop, and returns the seconds per step."""
    task: Any = cli.model
    data: Any = cli.datamodule
    clip = cli.trainer.gradient_clip_val
    data.prepare_data()
    data.setup()
    task.build(data.metadata)
    loader = data.train_dataloader()
    sampler = loader.batch_sampler.sampler
    optimizer = task.configure_optimizers()
    loss_of = loss_function(task)
    clock = Clock()
    for epoch in range(EPOCHS):
        if isinstance(sampler, BucketBatchSampler):
            sampler.set_epoch(epoch)
        clock.on_train_epoch_start()
        for batch in loader:
            clock.on_train_batch_start()
            optimizer.zero_grad()
            loss_of(batch).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(task.parameters(), clip)
            optimizer.step()
    return clock.seconds()


def bare_trainer(cli: TrainingCLI) -> float:
    """Trains with Lightning's Trainer alone, and returns the seconds per step."""
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu", max_epochs=EPOCHS, gradient_clip_val=cli.trainer.gradient_clip_val,
        callbacks=[clock], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(cli.model, datamodule=cli.datamodule)
    return clock.seconds()


def fit(cli: TrainingCLI) -> float:
    """Trains as the command line does, and returns the seconds per step."""
    clock = Clock()
    # Last, because another callback saves a checkpoint before the first batch of an epoch.
    cli.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return clock.seconds()


@contextlib.contextmanager
def unseen_terminal() -> Iterator[None]:
    """Makes rich draw as in a terminal, and discards the output."""
    os.environ |= {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "120"}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def build_anew(name: str, folder: str) -> TrainingCLI:
    """Builds a new model, data module and trainer from the same seed."""
    common = [
        f"--data.root={folder}", f"--trainer.default_root_dir={folder}/runs",
        "--trainer.accelerator=cpu", f"--trainer.max_epochs={EPOCHS}",
        "--trainer.limit_val_batches=2", "--trainer.enable_model_summary=false",
    ]  # fmt: skip
    gc.collect()
    cli = build([*SIZES[name], *common], run=False)
    seed_everything(1, verbose=False)
    return cli


def compare(name: str, rounds: int, folder: str) -> str:
    """Returns a row of the table."""
    with unseen_terminal():
        times = [
            [run(build_anew(name, folder)) for run in (by_hand, bare_trainer, fit)]
            for _ in range(rounds + 1)
        ]
    del times[0]  # the first turn is a warm-up
    cells = [f"{1e3 * statistics.median(seconds):.3f}" for seconds in zip(*times, strict=True)]
    for i in (1, 2):
        ratio = statistics.median(turn[0] / turn[i] for turn in times)
        more = statistics.median(turn[i] - turn[0] for turn in times)
        cells += [f"{ratio:.3f}", f"{1e6 * more:.0f}"]
    return f"| {name} | " + " | ".join(cells) + " |"


class Parts:
    """Times the parts of a step, without the parts inside them. Timing adds about 2 us to each."""

    step = "Lightning: rest of the loop"

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._steps = 0
        # For each thread, the seconds of the parts inside each running part.
        self._inner: defaultdict[int, list[float]] = defaultdict(lambda: [0.0])

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            inner = self._inner[threading.get_ident()]
            own = threading.current_thread() is threading.main_thread()
            if own and len(inner) == 1 and name != self.step:
                return function(*args, **kwargs)  # before or after training
            inner.append(0.0)
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                passed = time.thread_time() - start
                self._seconds[name] += passed - inner.pop()
                inner[-1] += passed

        return run

    def note(self, cli: TrainingCLI) -> None:
        """Trains as the command line does, and adds up the time of each part."""
        trainer: Any = cli.trainer
        task, loop, connector = cli.model, trainer.fit_loop.epoch_loop, trainer._logger_connector
        parts: list[tuple[str, object, str]] = [
            (self.step, loop, "advance"),
            (self.step, loop, "on_advance_end"),
            ("validation (once an epoch)", loop.val_loop, "run"),
            ("checkpoints (once an epoch)", trainer, "save_checkpoint"),
            ("Lightning: calling callbacks", call, "_call_callback_hooks"),
            ("Lightning: calling the task", call, "_call_lightning_module_hook"),
            ("Lightning: calling its strategy", call, "_call_strategy_hook"),
            ("Lightning: metrics", connector, "on_batch_end"),
            ("loader", _PrefetchDataFetcher, "__next__"),
            ("torch: backward", Tensor, "backward"),
            ("torch: optimizer", torch.optim.Adam, "step"),
            ("task: training_step", task, "training_step"),
            ("task: forward", task, "forward"),
            ("task: MeanLoss.update", MeanLoss, "update"),
            ("progress bar: its thread", Live, "refresh"),
        ]
        parts += [
            (f"{type(callback).__name__}.{hook}", callback, hook)
            for callback in trainer.callbacks
            for hook in ("on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end")
            if getattr(type(callback), hook) is not getattr(Callback, hook)
        ]
        with unseen_terminal(), contextlib.ExitStack() as stack:
            for name, owner, attribute in parts:
                function = self._timed(name, getattr(owner, attribute))
                stack.enter_context(mock.patch.object(owner, attribute, function))
            fit(cli)
        self._steps += trainer.global_step

    def table(self) -> str:
        """Returns a table of microseconds per step, in descending order."""
        parts = sorted(self._seconds.items(), key=lambda part: -part[1])
        rows = [f"| {name} | {1e6 * seconds / self._steps:.1f} |" for name, seconds in parts]
        return "\n".join(["| part | us per step |", "|---|---|", *rows])


def main() -> None:
    """Prints the table, or the time of the parts."""
    formatter = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument(
        "sizes", nargs="*", default=list(SIZES), metavar="size",
        help=f"sizes to measure: {', '.join(SIZES)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=15, help="number of turns per contender")
    parser.add_argument(
        "--profile", action="store_true", help="print the time of each part of a step of fit"
    )
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)  # threads that wait for work would count as CPU time
    print(f"{in_short(describe('cpu'), versions())}, {today()}")
    with tempfile.TemporaryDirectory() as folder:
        for name, size in (("train", 6920), ("val", 872), ("test", 2)):
            write_corpus(Path(folder) / f"{name}.tsv", size)
        print("" if args.profile else f"\n|{HEADS}|\n" + "|---" * 8 + "|")
        for name in args.sizes:
            if not args.profile:
                print(compare(name, args.rounds, folder), flush=True)
                continue
            parts = Parts()
            for _ in range(args.rounds):
                parts.note(build_anew(name, folder))
            print(f"\n{name}\n\n{parts.table()}", flush=True)


if __name__ == "__main__":
    main()
