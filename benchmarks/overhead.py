"""What training by ``train.py fit`` costs beside a loop written by hand, and where it goes.

    python benchmarks/overhead.py                            the table, a quarter of an hour
    python benchmarks/overhead.py tiny --profile --rounds 3  microseconds a step of every part

Sizes:
    classification  the SRU paper's Table 1: 2 layers of 128 units, fixed vectors of 300 features,
                    32 sentences of about 20 words
    tiny            features and units are 8: what is left is overhead
    language        configs/language_model.yaml

Three contenders take turns within one process, with the same model, batches and optimiser: a loop
of nothing but forward, loss, backward and step; Lightning's Trainer without log, progress bar,
checkpoints and callbacks; and ``fit`` with all it has by default, its progress bar drawn into a
terminal that shows nothing. Timed are the training batches of the second epoch, in seconds of the
processor: other processes do not count, and the thread that draws the bar does. Ratios are of steps
a second, medians over the turns.
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

tune_allocator()  # before torch allocates; for every contender

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from lightning import Callback, Trainer, seed_everything  # noqa: E402
from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher  # noqa: E402
from lightning.pytorch.trainer import call  # noqa: E402
from recurrence import machine  # noqa: E402
from rich.live import Live  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from srulight.commands.training import TrainingCLI, build  # noqa: E402
from srulight.data.samplers import BucketBatchSampler  # noqa: E402
from srulight.tasks.base import Task  # noqa: E402
from srulight.tasks.language_modelling.task import LanguageModelling  # noqa: E402
from srulight.tasks.metrics import MeanLoss  # noqa: E402

HEADS = "size|by hand ms|Trainer ms|fit ms|by hand / Trainer|us more|by hand / fit|us more"
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
    """Writes sentences as long as those of SST-2, with a vocabulary as large."""
    rng = random.Random(0)
    words = [f"w{i}" for i in range(16_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    with path.open("w") as file:
        file.write("text\tlabel\n")
        for label in [0, 1] * (size // 2):
            length = min(max(round(rng.gauss(19.5, 9)), 2), 50)
            file.write(f"{' '.join(rng.choices(words, weights, k=length))}\t{label}\n")


class Clock(Callback):
    """Notes when the batches of the last epoch start."""

    def __init__(self) -> None:
        self._starts: list[float] = []

    def on_train_epoch_start(self, *_: object) -> None:
        self._starts = []

    def on_train_batch_start(self, *_: object) -> None:
        self._starts.append(time.process_time())

    def seconds(self) -> float:
        """Gives the seconds a step, from the start of the first batch to that of the last."""
        return (self._starts[-1] - self._starts[0]) / (len(self._starts) - 1)


def loss_function(task: Task) -> Callable[[Any], Tensor]:
    """Gives the function from a batch to its loss, as one would write it."""
    if not isinstance(task, LanguageModelling):
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
    """Trains in a plain loop; gives the seconds a step."""
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
    """Trains with Lightning's trainer alone; gives the seconds a step."""
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu", max_epochs=EPOCHS, gradient_clip_val=cli.trainer.gradient_clip_val,
        callbacks=[clock], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(cli.model, datamodule=cli.datamodule)
    return clock.seconds()


def fit(cli: TrainingCLI) -> float:
    """Trains as the command line does; gives the seconds a step."""
    clock = Clock()
    # After the others, of which one saves a checkpoint before an epoch's first batch.
    cli.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return clock.seconds()


@contextlib.contextmanager
def unseen_terminal() -> Iterator[None]:
    """Makes rich draw as it does in a terminal, to nowhere."""
    os.environ |= {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "120"}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def build_anew(name: str, folder: str) -> TrainingCLI:
    """Builds model, data and trainer, from the same seed each time."""
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
    """Gives a row of the table."""
    with unseen_terminal():
        times = [
            [run(build_anew(name, folder)) for run in (by_hand, bare_trainer, fit)]
            for _ in range(rounds + 1)
        ]
    del times[0]  # it warmed up
    cells = [f"{1e3 * statistics.median(seconds):.3f}" for seconds in zip(*times, strict=True)]
    for i in (1, 2):
        ratio = statistics.median(turn[0] / turn[i] for turn in times)
        more = statistics.median(turn[i] - turn[0] for turn in times)
        cells += [f"{ratio:.3f}", f"{1e6 * more:.0f}"]
    return f"| {name} | " + " | ".join(cells) + " |"


class Parts:
    """Times the parts of a step, each without the parts inside it; to time one adds 2 us or so."""

    step = "Lightning: the rest of its loop"

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._steps = 0
        # Of each thread: seconds of the parts inside each part under way.
        self._inner: defaultdict[int, list[float]] = defaultdict(lambda: [0.0])

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            inner = self._inner[threading.get_ident()]
            own = threading.current_thread() is threading.main_thread()
            if own and len(inner) == 1 and name != self.step:
                return function(*args, **kwargs)  # before training, or after it
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
        """Trains as the command line does, and notes the time of each part."""
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
            ("torch: optimiser", torch.optim.Adam, "step"),
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
        """Gives microseconds a step, most first."""
        parts = sorted(self._seconds.items(), key=lambda part: -part[1])
        rows = [f"| {name} | {1e6 * seconds / self._steps:.1f} |" for name, seconds in parts]
        return "\n".join(["| part | us a step |", "|---|---|", *rows])


def main() -> None:
    """Prints the table, or the parts."""
    formatter = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("sizes", nargs="*", default=list(SIZES), metavar="size")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contender")
    parser.add_argument("--profile", action="store_true", help="parts of a step of fit")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)  # a thread that waits for work takes the processor's time, too
    print(machine())
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
