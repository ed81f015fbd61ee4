"""The trainings of a comparison: widths, tuning, budgets, and then the seeds."""

import argparse
import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from srulight.experiments.comparison import Comparison, Contender
from srulight.experiments.encoders import ANY_STEPS, STEPS, Choice, Recipe, setting
from srulight.experiments.pool import Pool
from srulight.experiments.run import Result, Run, RunError
from srulight.experiments.tuning import trials
from srulight.runtime.errors import InputError
from srulight.tasks.base import Task


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
                        one, place, (*budget, *options, *_seeds(self.field, seed)), test=True
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
        widen = _widening(field) if given.equal_parameters else None
        tried = {
            choice.label: trials(field.recipe, choice.options, field.parts, given.tune, widen)
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
                    more = (*tried[one.label][number], *budget, *field.folds[0], *_seeds(field, 1))
                    runs[name] = self._training(one, f"trial-{number + 1}", more)
                    places[name] = one, number
        for name, found in self.pool.run_all(runs).items():
            one, number = places[name]
            if isinstance(found, Result) and math.isfinite(found.best):
                one.tried[number] = found.best
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
            more = (
                *own,
                *steps,
                "--trainer.max_epochs=2",
                *self.field.folds[0],
                *_seeds(self.field, 1),
            )
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


def count_trainings(field: Field, given: argparse.Namespace) -> int:
    """Counts the trainings on a configuration, with those that only measure the time or steps.

    Args:
        field: The configuration.
        given: Options of the command.
    """
    probes = given.minutes is not None or any(STEPS in one for one in field.recipe.options)
    tuning = given.tune + probes if given.tune > 1 else 0
    return len(field.choices) * (given.seeds * len(field.folds) + probes + tuning)


def folder_name(label: str) -> str:
    """Returns a name for the folder of an encoder.

    Args:
        label: Label of the encoder.
    """
    return "".join(c if c.isalnum() or c in "-_.=" else "_" for c in label).strip(".") or "encoder"


def _seeds(field: Field, seed: int) -> tuple[str, ...]:
    everything = f"--seed_everything={seed}"
    # A language model reads its text in order, so its data has no seed.
    shuffled = setting(field.recipe.config(), "data.seed") is not None
    return (everything, f"--data.seed={seed}") if shuffled else (everything,)


def _widening(field: Field) -> "partial[tuple[str, ...]]":
    """Returns a function that finds the width of an encoder."""
    target = field.recipe.parameters(field.choices[0].options)
    return partial(field.recipe.widened, parts=field.parts, target=target)
