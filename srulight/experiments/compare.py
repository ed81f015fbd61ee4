"""The command ``compare``: trains encoders under the same conditions, and reports what differs."""

import argparse
import shlex
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from lightning_utilities.core.imports import module_available

from srulight.commands.arguments import ArgumentParser
from srulight.commands.runs import with_packaged_configs
from srulight.experiments.comparison import Comparison, write
from srulight.experiments.encoders import Recipe, choose, setting
from srulight.experiments.pool import Pool
from srulight.experiments.trainings import Comparing, Field, count_trainings, folder_name
from srulight.plugins import load_plugins
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.machine import processor
from srulight.runtime.program import program
from srulight.runtime.provenance import commit, today, versions

_DESCRIPTION = """\
Trains several encoders under the same conditions, and compares their test metrics, training times,
memory and latency. An interrupted comparison resumes when it is started again; finished trainings
are not repeated. Options of fit, such as --data.root=FOLDER, apply to all trainings; {steps} in
their values stands for the total number of optimizer steps, as in
--model.scheduler.steps={steps}."""

_FOLDS = 10  # number of folds of the corpora that have a setting for it


def parser() -> ArgumentParser:
    """Makes the parser of the command line."""
    found = ArgumentParser(
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
    total = sum(count_trainings(field, given) for field in fields)
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
