"""The command ``sweep``, which searches for good settings."""

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srulight.commands.arguments import ArgumentParser
from srulight.commands.runs import ROOT_DIR, files_first, with_packaged_configs
from srulight.commands.stored import flat, plain
from srulight.commands.training import build, quiet, silence_noise
from srulight.experiments import sweep_report
from srulight.experiments.pool import Pool
from srulight.experiments.ranges import (
    SYNTAX,
    Range,
    as_options,
    check_once,
    examples,
    grid,
    parse,
    read_ranges,
)
from srulight.experiments.run import Epoch, Result, Run, RunError
from srulight.experiments.trials import Claim, Search, Trials
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.program import program
from srulight.runtime.terminal import decimal

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Train = Callable[[str, Run, Callable[[Epoch], bool]], Result | RunError]
"""Trains, as ``Pool.run`` does."""

_TRIALS = 20
_REFUSED = {
    "--ckpt_path": "each trial begins with new weights",
    f"--{ROOT_DIR}": "--output names the folder",
    "--trainer.fast_dev_run": "such a run has no metric",
    "--print_config": "only fit prints it",
}
_DESCRIPTION = """Searches for settings that make the monitored metric of the validation data as
good as possible. All other options, such as --data.root=FOLDER, go to fit. The same command
resumes an interrupted sweep. Several processes with the same command share the work."""


def run(args: list[str]) -> None:
    """Runs the command ``sweep``.

    Args:
        args: Command-line arguments that follow the command.

    Raises:
        InputError: If the arguments are not usable, or all trials failed.
    """
    given, others = parser().parse_known_args(args)
    check_range(1, **{f"--{name}": getattr(given, name) for name in ("trials", "epochs", "jobs")})
    check_range(0, (1 << 32) - 1, **{"--seed": given.seed})
    check_range(0, **{"--hours": given.hours})
    ranges = [parse(text) for text in given.range]
    ranges += read_ranges(given.ranges) if given.ranges else []
    if not ranges:
        raise InputError(
            "sweep needs ranges of settings to search; pass, for example, --range "
            "model.optimizer.lr=log:1e-4..1e-2"
        )
    for option in others:
        if reason := _REFUSED.get(option.split("=")[0]):
            raise InputError(f"sweep takes no {option.split('=')[0]}, because {reason}; remove it")
    epochs = [] if given.epochs is None else [f"--trainer.max_epochs={given.epochs}"]
    check_once(ranges, others + epochs)
    files = [str(Path(name).absolute()) for name in _configs(given.config)]
    shared = [*(f"--config={file}" for file in files), *others]
    checked = check(shared, ranges)
    search = Search(
        ranges=tuple(ranges), mode=checked.mode, sampler=given.sampler, pruner=given.pruner,
        epochs=given.epochs or checked.epochs, seed=given.seed,
        configuration=dict(flat(checked.configuration)),
    )  # fmt: skip
    most = given.trials
    if given.sampler == "grid":
        most = min(most or sys.maxsize, len(grid(ranges)))
    # The best configuration is for fit: it has the folder, bars and epochs of the user.
    kept = ("default_root_dir", "enable_progress_bar", "enable_model_summary")
    names = kept if given.epochs is None else (*kept, "max_epochs")
    trainer = {name: checked.configuration["trainer"][name] for name in names}
    trials = Trials(given.output, search)
    try:
        _run(trials, [*shared, *epochs], files, most or _TRIALS, given.jobs, given.hours, checked)
        sweep_report.report(trials, checked.monitor, trainer)
    finally:
        trials.close()


def parser() -> ArgumentParser:
    """Returns the parser of the command line."""
    made = ArgumentParser(
        prog=f"{program()} sweep", description=_DESCRIPTION, allow_abbrev=False,
        usage=f"{program()} sweep --config FILE --range KEY=RANGE ... [options]",
    )  # fmt: skip
    add = made.add_argument
    add(
        "-c",
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="Configuration that all trials share; may be given several times, as for fit.",
    )
    add(
        "--range",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=RANGE",
        help=f"Settings to search, such as model.dropout=0.0..0.6. A range is {SYNTAX}.",
    )
    add(
        "--ranges",
        type=Path,
        metavar="FILE",
        help="YAML file of ranges: lines such as 'model.dropout: 0.0..0.6', or a list of values.",
    )
    add(
        "--trials",
        type=int,
        metavar="N",
        help=f"Number of trials, those of earlier commands and of other processes included "
        f"(default: {_TRIALS}; all combinations for --sampler=grid).",
    )
    add(
        "--epochs",
        type=int,
        metavar="N",
        help="Number of epochs per trial (default: trainer.max_epochs of the configuration).",
    )
    add(
        "--hours",
        type=float,
        metavar="H",
        help="Hours after which this process stops; trials that run then can be resumed.",
    )
    add(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="Number of trials that run at the same time, and share the CPU cores (default: 1).",
    )
    add(
        "--sampler",
        choices=("tpe", "random", "grid"),
        default="tpe",
        help="How to choose settings: tpe learns from earlier trials, random does not, and grid "
        "tries all combinations (default: tpe).",
    )
    add(
        "--pruner",
        choices=("median", "hyperband", "none"),
        default="median",
        help="Which trials to stop early: median stops those that are worse than half of the "
        "earlier trials after as many epochs, and hyperband divides the epochs among trials by "
        "successive halving (default: median).",
    )
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="Seed of the sampler, 0 to 2**32 - 1; seed_everything seeds the trainings "
        "(default: 0).",
    )
    add(
        "--output",
        type=Path,
        default=Path("runs/sweep"),
        metavar="FOLDER",
        help="Folder of the trials, the database and the results (default: runs/sweep).",
    )
    return made  # fmt: skip


def _configs(names: Sequence[str]) -> list[str]:
    if not names:
        raise InputError("sweep needs a configuration; pass, for example, --config FILE")
    given = with_packaged_configs([f"--config={name}" for name in names])
    return [option.removeprefix("--config=") for option in given]


@dataclass(frozen=True)
class Checked:
    """What the configuration of the trials says.

    Attributes:
        monitor: Name of the metric that selects the best checkpoint.
        mode: "max" if larger values of it are better, or "min".
        epochs: Number of epochs of the longest trial; None if it is not known.
        configuration: The whole configuration of the first example, as plain data.
    """

    monitor: str
    mode: str
    epochs: int | None
    configuration: dict[str, Any]


def check(options: Sequence[str], ranges: Sequence[Range]) -> Checked:
    """Builds what a few trials would train, without data, so that mistakes show before any trial.

    Args:
        options: Options of ``fit`` that all trials share.
        ranges: The ranges; each end and each choice is tried.

    Raises:
        InputError: If a value does not fit, or the trials would monitor different metrics.
        SystemExit: If there is no such setting; the parser has printed the reason.
    """
    silence_noise()
    metrics: dict[tuple[str, str], None] = {}
    epochs: list[int] = []
    first: dict[str, Any] = {}
    with quiet():
        for values in examples(ranges):
            args = [*options, *as_options(ranges, values), "--trainer.fast_dev_run=1"]
            cli = build(files_first(args), run=False)
            metrics[cli.model.monitored(cli.datamodule)] = None
            limit = cli.config["trainer"]["max_epochs"]
            epochs.append(-1 if limit is None else limit)
            first = first or plain(cli.parser, cli.config)
    if len(metrics) > 1:
        names = " and ".join(name for name, _ in metrics)
        raise InputError(
            f"all trials must monitor the same metric, got {names}; set --model.monitor"
        )
    ((monitor, mode),) = metrics
    return Checked(monitor, mode, max(epochs) if min(epochs) > 0 else None, first)


def _run(
    trials: Trials,
    options: Sequence[str],
    files: Sequence[str],
    most: int,
    jobs: int,
    hours: float | None,
    checked: Checked,
) -> None:
    before = {name: Path(name).read_bytes() for name in files}

    def unchanged() -> None:
        for name, content in before.items():
            if Path(name).read_bytes() != content:
                raise InputError(
                    f"{name} has changed since the sweep began; restore it, or choose another "
                    "--output to search with the new configuration"
                )

    def ended(trial: "FrozenTrial") -> None:
        pool.say(_line(trial, checked.monitor), len(trials.ended()))

    pool = Pool(jobs, most)
    seconds = None if hours is None else 3600 * hours
    try:
        with pool.shown():
            search(trials, options, pool.run, jobs, most, seconds, unchanged, ended, pool.stop)
    except (KeyboardInterrupt, SystemExit):
        print("interrupted; run the same command to resume the sweep", file=sys.stderr)
        raise


def search(
    trials: Trials,
    options: Sequence[str],
    train: Train,
    jobs: int,
    most: int,
    seconds: float | None = None,
    before: Callable[[], None] = lambda: None,
    ended: Callable[["FrozenTrial"], None] = lambda trial: None,
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Runs trials until there are enough.

    Args:
        trials: The trials.
        options: Options of ``fit`` that all trials share.
        train: Trains, as ``Pool.run`` does; called in several threads.
        jobs: Number of trials that run at the same time.
        most: Number of trials in all.
        seconds: Time limit; None if there is none.
        before: Called before a trial begins.
        ended: Called after a trial has ended.
        stop: Asks the trainings that run to stop.
    """
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            before()
            claim = trials.claim(most)
            if claim is None:
                return
            try:
                found = _train(claim, options, train, stopping)
                if stopping.is_set() and isinstance(found, RunError) and not claim.is_pruned:
                    return
                ended(claim.end(found))
            finally:
                claim.leave()

    with ThreadPoolExecutor(jobs) as executor:
        try:
            futures = [executor.submit(work) for _ in range(jobs)]
            wait(futures, timeout=seconds, return_when=FIRST_EXCEPTION)
        finally:
            stopping.set()
            stop()
    for future in futures:
        future.result()


def _train(
    claim: Claim, options: Sequence[str], train: Train, stopping: threading.Event
) -> Result | RunError:
    given = as_options(claim.ranges, claim.values)
    run = Run(claim.folder, (*options, *given), test=False)
    # A process that was killed may not have recorded the end of its trial.
    return run.result() or train(
        f"trial {claim.number}",
        run,
        lambda epoch: claim.goes_on(epoch) and not stopping.is_set(),
    )


def _line(trial: "FrozenTrial", monitor: str) -> str:
    name = f"trial {trial.number}"
    if trial.state.name == "FAIL":
        return f"{name} failed: {trial.user_attrs.get('error', '')}"
    epochs = max(trial.intermediate_values, default=0)
    much = f"{epochs} epoch{'s' * (epochs != 1)}"
    value = f"{monitor} {decimal(trial.value)}" if trial.value is not None else ""
    how = f"pruned after {much}, {value}" if trial.state.name == "PRUNED" else f"{value}, {much}"
    return f"{name}: {how}"
