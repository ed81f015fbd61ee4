"""Kills training at random moments, restarts it, and counts what was lost.

    python benchmarks/kills.py --kills 100            all tasks, about ten minutes
    python benchmarks/kills.py --kills 30 --tasks language_modeling --seed 7

Kills are spread evenly over the scenarios; if there are fewer, some scenarios are left out. Each
scenario is first trained without interruption. Then runs of it are killed, mostly by SIGKILL and
sometimes by a signal that asks them to stop, and restarted with ``--ckpt_path=auto`` until they
finish. After every kill, all files are read. The table has these columns:

    runs     runs that were killed
    exact    runs that ended with the checkpoints and the log of the uninterrupted run, bit for bit
             except for columns of wall time
    kills    number of kills in total; the next columns count them by signal
    again    optimizer steps that were repeated
    lost     restarts from scratch or from before an existing checkpoint, and checkpoints that lack
             the last step of a run that was asked to stop
    corrupt  files that could not be read
    codes    unexpected exit statuses

The exit status is 1 if a run did not end exactly, or if anything was lost or corrupt.

The processes are forked from one that has imported everything and computed nothing, because
starting Python would take longer than training.
"""

import argparse
import csv
import ctypes
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning_utilities.core.imports import module_available
from lightning_utilities.core.rank_zero import rank_zero_only
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

import srulight.commands.training  # noqa: F401  before anything is forked
from srulight.checkpoint import read
from srulight.cli import main as command_line
from srulight.commands.runs import LAST
from srulight.ops import extension
from srulight.plugins import load_plugins
from srulight.runtime.errors import InputError

CONFIGS = Path(__file__).parents[1] / "configs"
COMMON = """--model.encoder.hidden_size=8 --model.optimizer.lr=0.02 --trainer.max_epochs=4
    --trainer.enable_progress_bar=false --trainer.enable_model_summary=false
    --trainer.log_every_n_steps=1 --trainer.callbacks=LastCheckpoint
    --trainer.callbacks.every_n_steps=2"""
WORDS = f"{COMMON} --model.embedding_size=8 --data.batch_size=4"
TASKS = {
    "classification": f"""--config={CONFIGS / "quickstart.yaml"} --data.corpus=Grammar {WORDS}
        --data.corpus.train_size=61 --data.corpus.val_size=17 --data.corpus.test_size=16""",
    "language_modeling": f"""--config={CONFIGS / "language_model.yaml"} --data.corpus=GrammarText
        --data.corpus.train_size=60 --data.corpus.val_size=9 --data.segment_length=9
        --data.evaluation.tracks=3 --data.evaluation.segment_length=8 {WORDS}""",
    "speech_recognition": f"""--config={CONFIGS / "speech.yaml"} {COMMON}
        --data.corpus=SyntheticDTMF
        --data.corpus.train_size=60 --data.corpus.val_size=9 --data.corpus.test_size=1
        --data.features.num_mels=12 --data.batch_frames=400 --model.subsampling.channels=8
        --model.augmentation.time_masks=1""",
    "translation": f"""--config={CONFIGS / "translation.yaml"} --data.corpus=SyntheticNumbers
        {COMMON.replace("encoder", "translator.encoder")} --model.translator.decoder.hidden_size=8
        --data.corpus.train_size=100 --data.corpus.val_size=9 --data.corpus.test_size=1
        --data.batch_tokens=160""",
    "question_answering": f"""--config={CONFIGS / "questions.yaml"} {COMMON}
        --data.corpus=SyntheticStories
        --data.corpus.train_size=53 --data.corpus.val_size=9 --data.corpus.test_size=1
        --data.batch_size=16 --model.embedding_size=8""",
    "sequence_prediction": f"""--config={CONFIGS / "sequences.yaml"} {COMMON}
        --data.corpus=SyntheticSignals --data.corpus.steps=40 --data.corpus.train_size=31
        --data.corpus.val_size=9 --data.corpus.test_size=1 --data.batch_size=4""",
    "video_prediction": f"""--config={CONFIGS / "video.yaml"} {COMMON}
        --data.corpus=SyntheticTools --data.corpus.frames=20 --data.corpus.train_size=31
        --data.corpus.val_size=9 --data.corpus.test_size=1 --data.batch_size=4
        --data.height=8 --data.width=8 --model.frames.width=4""",
    "pose_estimation": f"""--config={CONFIGS / "pose.yaml"}
        {COMMON.replace("encoder", "head.encoder")}
        --data.corpus=SyntheticPoses --data.corpus.frames=12 --data.corpus.train_size=15
        --data.corpus.val_size=5 --data.corpus.test_size=1 --data.batch_size=2 --data.height=16
        --data.width=16 --data.augmentation.shift=0.1 --model.frames.width=8
        --model.head.encoder.num_layers=2""",
}
DROPOUT = "--model.dropout=0.3 --model.encoder.dropout=0.3"
WORKERS = "--data.num_workers=2"
ADDED = "--trainer.accumulate_grad_batches=3 --trainer.log_every_n_steps=2 --trainer.max_epochs=7"
OFTEN = "--trainer.val_check_interval=0.3"
CYCLE = """--model.scheduler=torch.optim.lr_scheduler.OneCycleLR --model.scheduler.max_lr=0.05
    --model.scheduler.total_steps=100"""
PLATEAU = """--model.scheduler=lightning.pytorch.cli.ReduceLROnPlateau --model.scheduler.mode=max
    --model.scheduler.monitor=val/loss --model.scheduler.patience=0"""
TRANSLATOR_DROPOUT = "--model.translator.dropout=0.3 --model.translator.decoder.dropout=0.3"
PAIR = "--trainer.devices=2 --trainer.strategy=ddp --trainer.max_epochs=3"
TWO = f"{PAIR} {DROPOUT}"
SEGMENTS = "--data.segment_length=16"
FRAMES = "--data.segment_length=8"
POSE_DROPOUT = "--model.head.encoder.dropout=0.3"
LONG = "--data.corpus.train_size=12000 --trainer.limit_train_batches=12"

KILL, TERM, INT, USR1 = signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1
SIGNALS = [KILL] * 11 + [TERM] * 3 + [INT] * 3 + [USR1] * 3
STATUS = {TERM: 143, INT: 130, USR1: 143}
STATE = ("state_dict", "optimizer_states", "lr_schedulers", "random_states", "recurrent_state")
COUNTS = ("runs", "exact", "kills", "SIGKILL", "SIGTERM", "SIGINT", "SIGUSR1", "again")
BAD = ("lost", "corrupt", "codes")


@dataclass
class Scenario:
    """A way to train, and its counts.

    Attributes:
        task: Name of the task.
        name: Description of the scenario.
        options: Arguments in addition to those of the task.
        processes: Number of processes that train together.
        own_cache: Whether each run tokenizes into a cache of its own, and is first killed before it
            trains.
        counts: Counts by column.
    """

    task: str
    name: str
    options: str
    processes: int = 1
    own_cache: bool = False
    counts: Counter[str] = field(default_factory=Counter)


def scenarios() -> list[Scenario]:
    """Lists all scenarios."""
    first, second, third, fourth, fifth, sixth, seventh, eighth = TASKS
    return [
        Scenario(first, "dropout", f"{DROPOUT} --model.word_dropout=0.1"),
        Scenario(first, "workers, accumulated", f"{WORKERS} {ADDED} {DROPOUT}"),
        Scenario(first, "workers, OneCycleLR, often", f"{WORKERS} {CYCLE} {OFTEN}"),
        Scenario(first, "plateau, accumulated, often", f"{PLATEAU} {OFTEN} {ADDED}"),
        Scenario(first, "two processes", TWO, processes=2),
        Scenario(second, "dropout, often", f"{DROPOUT} {OFTEN}"),
        Scenario(second, "OneCycleLR, accumulated, often", f"{CYCLE} {OFTEN} {ADDED}"),
        Scenario(second, "plateau", PLATEAU),
        Scenario(second, "own cache", f"{DROPOUT} {LONG}", own_cache=True),
        Scenario(second, "two processes", TWO, processes=2),
        Scenario(third, "workers, often", f"{WORKERS} {OFTEN} {DROPOUT}"),
        Scenario(third, "two processes", TWO, processes=2),
        Scenario(fourth, "workers, often", f"{WORKERS} {OFTEN} {TRANSLATOR_DROPOUT}"),
        Scenario(fourth, "two processes", f"{PAIR} {TRANSLATOR_DROPOUT}", processes=2),
        Scenario(fifth, "workers, often", f"{WORKERS} {OFTEN} {DROPOUT} --model.word_dropout=0.3"),
        Scenario(fifth, "two processes", TWO, processes=2),
        Scenario(sixth, "workers, often", f"{WORKERS} {OFTEN} {DROPOUT}"),
        Scenario(sixth, "segments, often", f"{SEGMENTS} {OFTEN} {DROPOUT}"),
        Scenario(sixth, "segments, accumulated", f"{SEGMENTS} {WORKERS} {ADDED} {DROPOUT}"),
        Scenario(sixth, "segments, two processes", f"{SEGMENTS} {TWO}", processes=2),
        Scenario(seventh, "workers, segments, often", f"{WORKERS} {FRAMES} {OFTEN} {DROPOUT}"),
        Scenario(seventh, "two processes", TWO, processes=2),
        Scenario(eighth, "workers, segments, often", f"{WORKERS} {FRAMES} {OFTEN} {POSE_DROPOUT}"),
        Scenario(eighth, "two processes", f"{PAIR} {POSE_DROPOUT}", processes=2),
    ]


class Run:
    """The processes of one training run.

    Args:
        scenario: Scenario to train.
        folder: Folder of the run.
        said: File for the output of the processes.

    Attributes:
        steps: Number of optimizer steps that the first process has completed.
        codes: Exit status of each process. Negative if a signal killed it, None if it is running.
    """

    def __init__(self, scenario: Scenario, folder: Path, said: Path) -> None:
        self.steps = RawValue(ctypes.c_long, 0)
        self.said = said
        self._args = ["fit", *TASKS[scenario.task].split(), *scenario.options.split()]
        self._args += ["--ckpt_path=auto", f"--trainer.default_root_dir={folder}"]
        world: dict[str, object] = {}
        if scenario.own_cache:
            world["SRULIGHT_CACHE"] = folder.with_suffix(".cache")
        size = scenario.processes
        if size > 1:  # as torchrun sets it
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                world |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1]}
            world |= {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "GROUP_RANK": 0}
            world |= {"TORCHELASTIC_RUN_ID": "kills"}
        self.pids = [self._fork(rank, world) for rank in range(size)]
        self.codes: list[int | None] = [None] * size

    def _fork(self, rank: int, world: dict[str, object]) -> int:
        if pid := os.fork():
            return pid
        code = 1
        try:
            os.setpgid(0, 0)
            for stream in (1, 2):
                os.dup2(os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            os.environ.update({name: str(value) for name, value in world.items()})
            if "WORLD_SIZE" in world:
                os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank)})
                # Lightning reads the rank when it is imported.
                rank_zero_only.rank = rank  # type: ignore[attr-defined]
            if rank == 0:
                register_optimizer_step_post_hook(self._count)
            sys.argv = ["train.py", *self._args]
            command_line(self._args)
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
            print(stop.code)
        except KeyboardInterrupt:
            # Python ends like this.
            signal.signal(INT, signal.SIG_DFL)
            os.kill(os.getpid(), INT)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _count(self, optimizer: Optimizer, *_: object) -> None:
        # Inspecting a checkpoint creates an optimizer with a single parameter that trains nothing.
        self.steps.value += len(optimizer.param_groups[0]["params"]) > 1

    def wait(self, seconds: float, some: bool = False) -> bool:
        """Waits until all processes, or ``some``, have ended. Returns whether all ended in time."""
        end = time.monotonic() + seconds
        while True:
            for i, pid in enumerate(self.pids):
                if self.codes[i] is None:
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    self.codes[i] = os.waitstatus_to_exitcode(status) if ended else None
            running = self.codes.count(None)
            if running == 0 or (some and running < len(self.codes)) or time.monotonic() > end:
                return running == 0
            time.sleep(0.002)

    def train(self) -> None:
        """Waits for the first step or the end of the run."""
        while not self.steps.value and not self.wait(0.002):
            pass

    def finish(self) -> None:
        """Waits for the end. Kills processes that hang or wait for one that is gone."""
        self.wait(120, some=True)
        self.wait(15)  # on a busy machine, the first process takes long to save and draw
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.killpg(pid, KILL)  # includes workers that a killed process left
        self.wait(5)

    def begun_at(self) -> int | None:
        """Returns the step that the run resumed from: 0 for a new run, None if it did not start."""
        said = self.said.read_text() if self.said.exists() else ""
        found = re.search(r"resuming from .*, step (\d+)", said)
        return int(found[1]) if found else 0 if "no checkpoint to resume from" in said else None


def look(folder: Path) -> tuple[int, list[str]]:
    """Reads all files of a run. Returns the step of the newest checkpoint, and what is corrupt."""
    step, corrupt = 0, []
    for path in folder.glob("*/checkpoints/*.ckpt"):
        try:
            stored = read(path)
            step = max(step, stored["global_step"] if path.name in LAST else 0)
        except InputError as error:
            corrupt.append(str(error))
    for path in folder.glob("*/metrics.csv"):
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        if not rows or any(len(row) != len(rows[0]) for row in rows):
            corrupt.append(f"{path} has incomplete rows")
    for path in folder.glob("*/config.yaml"):
        config = yaml.safe_load(path.read_text())
        if not isinstance(config, dict) or not {"model", "data", "trainer"} <= config.keys():
            corrupt.append(f"{path} is incomplete")
    return step, corrupt


def result(folder: Path) -> dict[str, Any]:
    """Collects the final checkpoints and the log of a run."""
    last = max(folder.glob("*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    stored, best = read(last), read(last.with_name("best.ckpt"))
    with (last.parents[1] / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    log = [{name: value for name, value in row.items() if "second" not in name} for row in rows]
    return {name: stored[name] for name in STATE} | {"log": log, "best": best["state_dict"]}


def same(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Returns whether plain data and tensors are equal, bit for bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


class Trial:
    """The uninterrupted run of a scenario, and the runs that are killed.

    Args:
        scenario: Scenario to train.
        folder: Folder for the runs.
        generator: Random generator that draws when and how a run is killed.
    """

    def __init__(self, scenario: Scenario, folder: Path, generator: torch.Generator) -> None:
        self.scenario, self.folder, self.generator = scenario, folder, generator
        folder.mkdir()
        start = time.monotonic()
        run = Run(scenario, folder / "whole", folder / "whole.log")
        run.train()
        self.begin = time.monotonic() - start
        run.finish()
        self.length = time.monotonic() - start - self.begin
        if any(run.codes):
            sys.exit(f"{scenario.name} failed without being killed: {run.codes}; see {run.said}")
        self.steps = run.steps.value
        self.result = result(folder / "whole")

    def share(self) -> float:
        """Draws a uniform number between 0 and 1."""
        return float(torch.rand((), generator=self.generator))

    def report(self, column: str, run: Run, what: object) -> None:
        """Counts a problem, and prints it."""
        self.scenario.counts[column] += 1
        print(f"{column}: {self.scenario.name}, {run.said}: {what}", file=sys.stderr)

    def kill(self, run: Run, early: bool, left: float) -> tuple[signal.Signals | None, int, bool]:
        """Sends a signal to one process after a random delay, unless the run has ended.

        Args:
            run: The run.
            early: Whether to send the signal before training begins.
            left: Share of the training that the run still has to do, from 0 to 1.

        Returns:
            The signal or None, the rank of the process, and whether training had begun.
        """
        number = SIGNALS[int(self.share() * len(SIGNALS))]
        rank = int(self.share() * len(run.pids))
        if early:
            delay = self.share() * self.begin
        else:
            run.train()
            delay = self.share() * self.length * left
        if run.wait(delay) or run.codes[rank] is not None:
            return None, rank, True
        begun = run.steps.value > 0
        # A terminal sends Ctrl-C to the workers as well.
        group = number == INT and len(run.pids) == 1
        (os.killpg if group else os.kill)(run.pids[rank], number)
        self.scenario.counts.update(("kills", number.name))
        return number, rank, begun

    def batter(self, kills: int) -> None:
        """Kills a run up to ``kills`` times, lets it finish, and compares the result."""
        name = f"run-{self.scenario.counts['runs']}"
        folder = self.folder / name
        seen = done = 0
        self.scenario.counts["runs"] += 1
        for left in range(kills, -1, -1):
            run = Run(self.scenario, folder, self.folder / f"{name}-{kills - left}.log")
            number, rank, training = None, 0, True
            if left:
                early = self.share() < 0.1 or (self.scenario.own_cache and left == kills)
                number, rank, training = self.kill(run, early, 1 - seen / self.steps)
            run.finish()
            start, steps = run.begun_at(), run.steps.value
            if start is not None and start < seen:
                self.report("lost", run, f"it resumed from step {start} instead of {seen}")
            done += steps
            reached = (start or 0) + steps
            self.check_codes(run, number, rank, training, reached == self.steps)
            saved, corrupt = look(folder)
            seen = max(seen, saved)
            for what in corrupt:
                self.report("corrupt", run, what)
            asked = number in STATUS and run.codes[rank] == STATUS[number]
            if asked and training and saved < reached:
                self.report(
                    "lost",
                    run,
                    f"the checkpoint is of step {saved}, but the run had reached {reached}",
                )
            if number is None:
                break
        self.scenario.counts["again"] += done - self.steps
        try:
            end = result(folder)
        except (ValueError, InputError) as error:  # last.ckpt is missing or incomplete
            end = {"error": error}
        other = [part for part, value in self.result.items() if not same(value, end.get(part))]
        if other:
            self.report("not exact", run, other)
        else:
            self.scenario.counts["exact"] += 1

    def check_codes(
        self, run: Run, number: signal.Signals | None, rank: int, training: bool, finished: bool
    ) -> None:
        """Counts unexpected exit statuses.

        Before training begins and after it ends, a signal may kill a process as it does any other.
        """
        fine: set[int | None] = {0} if number is None or finished else set()
        if number is not None and (number == KILL or not training or finished):
            fine.add(-number)
        fine |= {STATUS[number]} if number in STATUS else set()
        # The other processes cannot continue, and exit with an error.
        alone = number == KILL or not training or finished
        codes = [run.codes[rank]] if alone else run.codes
        if not fine.issuperset(codes):
            self.report("codes", run, f"{run.codes} after {number!r} to process {rank}")


def table(chosen: list[Scenario]) -> str:
    """Formats the counts as a table with totals."""
    total = sum((scenario.counts for scenario in chosen), Counter())
    named = [(f"{s.task}, {s.name}", s.counts) for s in chosen]
    lines = [f"{'scenario':50}" + "".join(f"{column:>8}" for column in COUNTS + BAD)]
    for name, counts in [*named, ("total", total)]:
        lines.append(f"{name:50}" + "".join(f"{counts[c]:8}" for c in COUNTS + BAD))
    return "\n".join(lines)


def main() -> None:
    """Runs the trials and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="number of kills in total")
    parser.add_argument("--seed", type=int, default=1, help="seed of the times and signals")
    parser.add_argument(
        "--tasks", nargs="+", default=list(TASKS), choices=list(TASKS), help="tasks to train"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    load_plugins()
    extension.load("cpu")
    if module_available("matplotlib"):
        import matplotlib.figure  # noqa: F401
    generator = torch.Generator().manual_seed(args.seed)
    chosen = [scenario for scenario in scenarios() if scenario.task in args.tasks]
    folder = Path(tempfile.mkdtemp())
    # Without automatic refresh, whose thread a forked process would lack.
    with Progress(console=Console(stderr=True), auto_refresh=False) as progress:
        bar = progress.add_task("kills", total=args.kills)
        for i, scenario in enumerate(chosen):
            progress.update(bar, description=f"{scenario.task}, {scenario.name}", refresh=True)
            goal = (i + 1) * args.kills // len(chosen) - i * args.kills // len(chosen)
            if goal == 0:
                continue
            trial = Trial(scenario, folder / str(i), generator)
            while (rest := goal - scenario.counts["kills"]) > 0:
                before = scenario.counts["kills"]
                trial.batter(min(rest, 1 + int(4 * trial.share())))
                progress.update(bar, advance=scenario.counts["kills"] - before, refresh=True)
    print(table(chosen))
    counts = [scenario.counts for scenario in chosen]
    if any(c["exact"] < c["runs"] or c["lost"] or c["corrupt"] for c in counts):
        sys.exit(f"some runs were not exact; their files are in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
