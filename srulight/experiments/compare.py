"""The command ``compare``: trains encoders under the same conditions, and reports what differs."""

import argparse
import shlex
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

from lightning_utilities.core.imports import module_available

from srulight.commands.runs import with_packaged_configs
from srulight.experiments.comparison import Comparison, Contender, write
from srulight.experiments.encoders import ANY_STEPS, STEPS, Choice, Recipe, choose, setting
from srulight.experiments.pool import Pool
from srulight.experiments.run import Result, Run, RunError
from srulight.experiments.tuning import trials
from srulight.plugins import load_plugins
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.machine import processor
from srulight.runtime.program import program
from srulight.runtime.provenance import commit, today, versions
from srulight.tasks.base import Task

_DESCRIPTION = """\
Trains several encoders under the same conditions, and compares their test metrics, training times,
memory and latency. An interrupted comparison resumes when it is started again; finished trainings
are not repeated. Options of fit, such as --data.root=FOLDER, apply to all trainings; {steps} in
their values stands for the total number of optimizer steps, as in
--model.scheduler.steps={steps}."""

_FOLDS = 10  # number of folds of the corpora that have a setting for it


class Field(NamedTuple):
    """One configuration with the encoders to compare on it.

    Attributes:
        name: Name of the configuration.
        recipe: The configuration.
        parts: Settings that hold the encoder.
        choices: The encoders.
        folder: Folder for the trainings.
        folds: Options of each fold; one empty tuple without cross-validation.
    """

    name: str
    recipe: Recipe
    parts: list[str]
    choices: list[Choice]
    folder: Path
    folds: list[tuple[str, ...]]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    found = _Parser(
        prog=f"{program()} compare", description=_DESCRIPTION, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = found.add_argument
    add(
        "-c",
        "--config",
        nargs="+",
        required=True,
        metavar="FILE",
        help="configurations to compare the encoders on",
    )
    add(
        "--encoders",
        nargs="+",
        required=True,
        metavar="NAME",
        help="encoders: names of classes or paths of their import, with the settings of the "
        "configuration, or presets in configs/encoders and other YAML files, with their own; "
        "settings may follow, as in SRU,num_layers=4",
    )
    add(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="number of trainings per encoder, with the seeds 1 to N (default: %(default)s)",
    )
    add(
        "--epochs",
        type=int,
        metavar="N",
        help="number of epochs of each training (default: trainer.max_epochs of the configuration)",
    )
    add(
        "--minutes",
        type=float,
        metavar="M",
        help="training time of each training in minutes, without validation, instead of --epochs; "
        "a short training measures how many epochs fit into it",
    )
    add(
        "--equal_parameters",
        "--equal-parameters",
        action="store_true",
        help="set the width of each encoder so that all networks have about as many parameters as "
        "that with the first encoder",
    )
    add(
        "--tune",
        type=int,
        default=1,
        metavar="N",
        help="number of settings to try for each encoder, with seed 1, before the comparison: "
        "learning rate, dropout, highway_bias and, at equal parameters, number of layers; those "
        "with the best validation metric are used (default: %(default)s, the given settings)",
    )
    add(
        "--folds",
        type=int,
        metavar="N",
        help=f"number of folds to average over, 1 to {_FOLDS}, for corpora with a setting called "
        f"fold (default: all {_FOLDS})",
    )
    add(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="number of trainings at the same time, which share the CPU cores "
        "(default: %(default)s)",
    )
    add(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help="test metrics to show, without test/; the first one is compared (default: that which "
        "selects the best checkpoint)",
    )
    add(
        "--parts",
        nargs="+",
        metavar="SETTING",
        help="settings that hold the encoder (default: the only setting called encoder, and a "
        "decoder beside it)",
    )
    add("--output", type=Path, default=Path("runs/compare"), metavar="FOLDER",
        help="folder for the trainings, the table (.md, .csv, .json) and the pictures "
        "(default: %(default)s)")  # fmt: skip
    return found


def run(args: list[str]) -> None:
    """Runs the command.

    Args:
        args: Command-line arguments that follow the command.

    Raises:
        InputError: If an option is wrong, or a training failed.
    """
    given, fields = prepare(args)
    total = sum(_trainings(field, given) for field in fields)
    command = shlex.join(["srulight", "compare", *args])
    about = {
        "command": command, "date": today(), "machine": processor(), "commit": commit(),
        "versions": versions("lightning"),
    }  # fmt: skip
    pool = Pool(given.jobs, total)
    done: list[Comparison] = []
    with pool.shown():
        for field in fields:
            one = Comparing(field, given, pool)
            done.append(one.comparison)
            one.run(partial(write, given.output, done, about))
    paths = write(given.output, done, about)
    print("\n".join(one.markdown() for one in done))
    print(f"saved {', '.join(map(str, paths))}")
    if not module_available("matplotlib"):
        print('a picture needs matplotlib; install it: pip install "srulight[plot]"')
    failures = [reason for one in done for reason in one.failures()]
    if failures:
        raise InputError(
            f"{len(failures)} of {total} trainings failed; run the command again to repeat them"
        )


def prepare(args: list[str]) -> tuple[argparse.Namespace, list[Field]]:
    """Parses the command line, and checks every configuration with every encoder.

    Args:
        args: Command-line arguments that follow the command.

    Raises:
        InputError: If an option is wrong.
    """
    given, rest = parser().parse_known_args(args)
    _check(given, rest)
    load_plugins()
    return given, list(_fields(given, rest))


class Comparing:
    """Compares encoders on one configuration.

    Args:
        field: The configuration and the encoders.
        given: Options of the command.
        pool: Runs the trainings.
    """

    def __init__(self, field: Field, given: argparse.Namespace, pool: Pool) -> None:
        self.field, self.given, self.pool = field, given, pool
        task, data = (cli := field.recipe.build()).model, cli.datamodule
        assert isinstance(task, Task)
        monitor, mode = task.monitored(data)
        metrics = given.metrics or [monitor.partition("/")[2]]
        self._sign = 1 if mode == "max" else -1
        options = field.recipe.options
        self._plain = tuple(option for option in options if STEPS not in option)
        self._with_steps = tuple(option for option in options if STEPS in option)
        self.comparison = Comparison(
            field.name,
            [Contender(choice.label, choice.options) for choice in field.choices],
            metrics,
            len(field.folds),
        )

    def run(self, save: "partial[list[Path]]") -> None:
        """Tunes the encoders if that is asked for, and runs the trainings.

        Args:
            save: Writes all results so far; called after each training.
        """
        settings = self._settings()
        for contender in self.comparison.contenders:
            contender.options += settings[contender.label]
        runs, places = {}, {}
        budgets = self._budgets()
        # The encoders take turns, so that a busy moment of the machine slows down all of them.
        for seed in range(1, self.given.seeds + 1):
            for fold, options in enumerate(self.field.folds):
                for one in self.comparison.contenders:
                    if isinstance(budget := budgets[one.label], RunError):
                        one.failures[seed, fold] = str(budget)
                        continue
                    name = f"{one.label} seed {seed}"
                    name += f" fold {fold}" if len(self.field.folds) > 1 else ""
                    place = f"seed-{seed}" + (f"-fold-{fold}" if options else "")
                    runs[name] = self._training(
                        one, place, (*budget, *options, *_seeds(seed)), test=True
                    )
                    places[name] = one, (seed, fold)

        def keep(name: str, found: Result | RunError) -> None:
            one, key = places[name]
            if isinstance(found, Result):
                self._check_metrics(found)
                one.results[key] = found
            else:
                one.failures[key] = str(found)
            save()

        self.pool.run_all(runs, keep)

    def _training(self, one: Contender, place: str, more: Iterable[str], test: bool = False) -> Run:
        folder = self.field.folder / folder_name(one.label) / place
        return Run(folder, (*self._plain, *one.options, *more), test)

    def _check_metrics(self, result: Result) -> None:
        for metric in self.comparison.metrics:
            if metric not in result.test:
                raise InputError(
                    f"--metrics must be metrics of the test ({', '.join(sorted(result.test))}), "
                    f"got {metric!r}"
                )

    def _settings(self) -> dict[str, tuple[str, ...]]:
        """Returns the options of each encoder for its width and for the best trial."""
        field, given = self.field, self.given
        widen = {
            c.label: _widening(field) if given.equal_parameters else None for c in field.choices
        }
        tried = {
            choice.label: trials(
                field.recipe, choice.options, field.parts, given.tune, widen[choice.label]
            )
            for choice in field.choices
        }
        if given.tune == 1:
            return {label: settings[0] for label, settings in tried.items()}
        budgets = self._budgets({label: settings[0] for label, settings in tried.items()})
        runs, places = {}, {}
        for number in range(given.tune):
            for one in self.comparison.contenders:
                one.tried.append(None)
                if not isinstance(budget := budgets[one.label], RunError):
                    name = f"{one.label} trial {number + 1}"
                    more = (*tried[one.label][number], *budget, *field.folds[0], *_seeds(1))
                    runs[name] = self._training(one, f"trial-{number + 1}", more)
                    places[name] = one, number
        for name, found in self.pool.run_all(runs).items():
            one, number = places[name]
            is_valid = isinstance(found, Result) and found.best == found.best
            one.tried[number] = found.best if is_valid else None  # type: ignore[union-attr]
        return {one.label: tried[one.label][self._best(one)] for one in self.comparison.contenders}

    def _best(self, one: Contender) -> int:
        scores = [-float("inf") if v is None else self._sign * v for v in one.tried]
        return max(range(len(scores)), key=lambda number: scores[number])

    def _budgets(
        self, settings: dict[str, tuple[str, ...]] | None = None
    ) -> dict[str, tuple[str, ...] | RunError]:
        """Returns the options of each encoder for the number of epochs.

        Args:
            settings: Options of each encoder for its settings, if they are not in the contenders.
        """
        epochs, minutes = self.given.epochs, self.given.minutes
        if minutes is None and not self._with_steps:
            budget = () if epochs is None else (f"--trainer.max_epochs={epochs}",)
            return {one.label: budget for one in self.comparison.contenders}
        place = "probe-of-defaults" if settings else "probe"
        probes = {}
        for one in self.comparison.contenders:
            own = (settings or {}).get(one.label, ())
            steps = [option.replace(STEPS, ANY_STEPS) for option in self._with_steps]
            more = (*own, *steps, "--trainer.max_epochs=2", *self.field.folds[0], *_seeds(1))
            probes[one.label] = self._training(one, place, more)
        found: dict[str, tuple[str, ...] | RunError] = {}
        for label, probed in self.pool.run_all(probes).items():
            if isinstance(probed, RunError):
                found[label] = probed
                continue
            count = epochs or setting(self.field.recipe.config(), "trainer.max_epochs")
            if minutes is not None:
                count = max(1, round(60 * minutes / probed.seconds_per_epoch))
            total = str(probed.steps * count // probed.epochs)
            replaced = (option.replace(STEPS, total) for option in self._with_steps)
            found[label] = (*replaced, f"--trainer.max_epochs={count}")
        return found


def _trainings(field: Field, given: argparse.Namespace) -> int:
    """Counts the trainings on a configuration, with those that only measure the time or steps."""
    probes = given.minutes is not None or any(STEPS in one for one in field.recipe.options)
    tuning = given.tune + probes if given.tune > 1 else 0
    return len(field.choices) * (given.seeds * len(field.folds) + probes + tuning)


def folder_name(label: str) -> str:
    """Returns a name for the folder of an encoder.

    Args:
        label: Label of the encoder.
    """
    return "".join(c if c.isalnum() or c in "-_.=" else "_" for c in label).strip(".") or "encoder"


def _seeds(seed: int) -> tuple[str, ...]:
    return f"--seed_everything={seed}", f"--data.seed={seed}"


def _widening(field: Field) -> "partial[tuple[str, ...]]":
    """Returns a function that finds the width of an encoder."""
    target = field.recipe.parameters(field.choices[0].options)
    return partial(field.recipe.widened, parts=field.parts, target=target)


def _check(given: argparse.Namespace, rest: Sequence[str]) -> None:
    """Raises InputError if options are out of range or contradict each other."""
    check_range(1, seeds=given.seeds, tune=given.tune, jobs=given.jobs)
    check_range(1, epochs=given.epochs)
    check_range(1, _FOLDS, folds=given.folds)
    if given.minutes is not None and not 0 < given.minutes < float("inf"):
        raise InputError(f"minutes must be above 0, got {given.minutes}")
    if given.epochs is not None and given.minutes is not None:
        raise InputError("--epochs and --minutes exclude each other; leave one of them out")
    twice = {name for name in given.encoders if given.encoders.count(name) > 1}
    if twice:
        raise InputError(f"--encoders must differ, got {', '.join(sorted(twice))} twice")
    taken = (
        "--trainer.max_epochs",
        "--trainer.default_root_dir",
        "--seed_everything",
        "--data.seed",
    )
    for option in rest:
        name = option.partition("=")[0]
        if name in taken:
            raise InputError(
                f"{name} is set by compare, got {option!r}; use --epochs, --seeds or --output"
            )


def _fields(given: argparse.Namespace, rest: Sequence[str]) -> Iterable[Field]:
    """Yields each configuration, after it has been checked with every encoder."""
    names: dict[str, str] = {}
    for config in given.config:
        name = Path(config).stem
        if name in names:
            raise InputError(
                f"--config must have files with different names, got {names[name]} and {config}"
            )
        names[name] = config
        folder = given.output / folder_name(name)
        options = with_packaged_configs([f"--config={config}", *rest])
        recipe = Recipe(options, folder / "widths.json")
        parts = given.parts or recipe.parts
        choices = [choose(text, parts) for text in given.encoders]
        for choice in choices:
            recipe.config(choice.options)
        yield Field(name, recipe, parts, choices, folder, _folds(recipe, given.folds))


def _folds(recipe: Recipe, count: int | None) -> list[tuple[str, ...]]:
    """Returns the options of each fold."""
    fold = setting(recipe.config(), "data.corpus.fold")
    if fold is None:
        if count not in (None, 1):
            raise InputError(
                f"--folds needs a corpus with a setting called fold, got --folds={count}; leave it "
                "out"
            )
        return [()]
    return [(f"--data.corpus.fold={k}",) for k in range(count or _FOLDS)]
