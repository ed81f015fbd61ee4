"""The trials of a sweep, in an SQLite file that several processes may share."""

import json
import math
import shutil
import sqlite3
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout
from lightning_utilities.core.imports import module_available

from srulight.experiments.ranges import Range, Value, grid
from srulight.experiments.run import Epoch, Result, RunError
from srulight.runtime.errors import InputError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Sampler = Literal["tpe", "random", "grid"]
Pruner = Literal["median", "hyperband", "none"]

DATABASE = "study.db"
_NAME, _SETTINGS, _LOCK, _OWNER = "sweep", "settings", ".lock", ".owner"
_WAIT = 60.0  # seconds that a process waits for another one that writes to the database


@dataclass(frozen=True)
class Search:
    """What a sweep searches, and how; a folder contains the trials of one search.

    Attributes:
        ranges: The ranges of the settings.
        mode: "max" if larger values of the monitored metric are better, or "min".
        sampler: How settings are chosen: "tpe", "random" or "grid".
        pruner: How unpromising trials are found: "median", "hyperband" or "none".
        epochs: Number of epochs per trial; None if it is not known.
        seed: Seed of the sampler.
        configuration: Settings that all trials share, by name, to recognize the search.
    """

    ranges: tuple[Range, ...]
    mode: str
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"
    epochs: int | None = None
    seed: int = 0
    configuration: Mapping[str, Any] | None = None

    def settings(self) -> dict[str, Any]:
        """Returns the search as plain data, by the names of its settings."""
        plain = {
            **{f"range {one.key}": one.text for one in self.ranges},
            "--sampler": self.sampler,
            "--pruner": self.pruner,
            "--epochs": self.epochs,
            "--seed": self.seed,
            "mode": self.mode,
            **(self.configuration or {}),
        }
        copied: dict[str, Any] = json.loads(json.dumps(plain, default=str))
        return copied


def folder_of(output: Path, number: int) -> Path:
    """Returns the folder of a trial.

    Args:
        output: Folder of the sweep.
        number: Number of the trial, from 0.
    """
    return output / f"trial-{number:04d}"


class Trials:
    """The trials of a sweep.

    All of a trial is in a database. The process that trains it locks a file in its folder. The
    system releases the lock when the process ends in any way, and another one takes the trial up.

    Args:
        output: Folder of the sweep.
        search: What it searches.

    Raises:
        InputError: If Optuna is missing, or the folder contains another search or a damaged
            database.
    """

    def __init__(self, output: Path, search: Search) -> None:
        if not module_available("optuna"):
            raise InputError('sweep needs optuna; install it: pip install "srulight[sweep]"')
        self.output = output
        self.search = search
        self.grid = grid(search.ranges) if search.sampler == "grid" else []
        self._owned: set[int] = set()
        self._lock_owned = threading.Lock()
        try:
            output.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise InputError(
                f"{output}: expected a folder, got a file; choose another --output"
            ) from error
        with self.locked():
            self.study = self._open()

    def close(self) -> None:
        """Closes the database."""
        self._storage.engine.dispose()

    def locked(self) -> FileLock:
        """Returns the lock that a process holds while it chooses or ends trials."""
        return FileLock(self.output / _LOCK)

    def _open(self) -> "Study":
        import optuna
        from sqlalchemy.exc import DatabaseError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = self.output / DATABASE

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(path, timeout=_WAIT, check_same_thread=False)

        try:
            # This URL is only a name: a URL cannot contain every path.
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{DATABASE}", engine_kwargs={"creator": connect}
            )
            self._storage = storage
            study = optuna.create_study(
                storage=storage,
                study_name=_NAME,
                direction="maximize" if self.search.mode == "max" else "minimize",
                pruner=_pruner(self.search),
                load_if_exists=True,
            )
            self._check(study)
        except (DatabaseError, RuntimeError, optuna.exceptions.StorageInternalError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{path}: expected the trials of a sweep: {reason}; choose another --output, or "
                "delete the folder to start again"
            ) from error
        return study

    def _check(self, study: "Study") -> None:
        now = self.search.settings()
        earlier = study.user_attrs.get(_SETTINGS)
        if earlier is None:
            study.set_user_attr(_SETTINGS, now)
            return
        names = [name for name in {**earlier, **now} if earlier.get(name) != now.get(name)]
        if names:
            name = names[0]
            raise InputError(
                f"{self.output} contains a sweep with other settings ({name}: "
                f"{earlier.get(name)} then, {now.get(name)} now); choose another --output, or "
                "delete the folder to start again"
            )

    def claim(self, most: int) -> "Claim | None":
        """Takes up a trial that another process has left, or begins a new one.

        Args:
            most: Largest number of trials; those that failed count as well.

        Returns:
            The trial; None if there are enough.
        """
        from optuna.trial import Trial, TrialState

        with self.locked():
            for left in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if lock := self._own(left.number):
                    self.study.sampler = _sampler(self.search, left.number)
                    id_ = self._storage.get_trial_id_from_study_id_trial_number(
                        self._storage.get_study_id_from_name(_NAME), left.number
                    )
                    return Claim(self, Trial(self.study, id_), lock)
            trials = self.study.get_trials(deepcopy=False)
            begun = [one for one in trials if one.state != TrialState.WAITING]
            number = len(trials)
            if len(begun) >= min(most, len(self.grid) or most):
                return None
            # The next trial depends on the seed, its number and what is known, and not on which
            # process begins it, or how often the sweep was interrupted.
            self.study.sampler = _sampler(self.search, number)
            if self.grid and number == len(begun):
                self.study.enqueue_trial(self._shuffled()[number])
            trial = self.study.ask()
            lock = self._own(trial.number)
            assert lock is not None
            return Claim(self, trial, lock)

    def _own(self, number: int) -> FileLock | None:
        """Locks a trial; returns None if it has an owner."""
        with self._lock_owned:
            if number in self._owned:
                return None
            folder = folder_of(self.output, number)
            folder.mkdir(exist_ok=True)
            lock = FileLock(folder / _OWNER, thread_local=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                return None
            self._owned.add(number)
            return lock

    def release(self, number: int, lock: FileLock) -> None:
        """Unlocks a trial.

        Args:
            number: Number of the trial.
            lock: Its lock.
        """
        with self._lock_owned:
            lock.release()
            self._owned.discard(number)

    def _shuffled(self) -> list[dict[str, Value]]:
        import numpy as np

        order = np.random.default_rng(self.search.seed).permutation(len(self.grid))
        return [self.grid[i] for i in order]

    def ended(self) -> list["FrozenTrial"]:
        """Returns the trials that have ended, the best first; those without a value come last."""
        sign = -1 if self.search.mode == "max" else 1

        def rank(trial: "FrozenTrial") -> tuple[bool, bool, float]:
            return (
                trial.state.name != "COMPLETE",
                trial.value is None,
                sign * (trial.value or 0.0),
            )

        trials = self.study.get_trials(deepcopy=False)
        return sorted((one for one in trials if one.state.is_finished()), key=rank)

    def best(self) -> "FrozenTrial | None":
        """Returns the best of the trials that trained to their end; None if there is none."""
        first = next(iter(self.ended()), None)
        return first if first is not None and first.state.name == "COMPLETE" else None

    def remove_checkpoints(self) -> None:
        """Removes the checkpoints of trials that were pruned, or are worse than the best one."""
        for rank, trial in enumerate(self.ended()):
            if rank > 0 and trial.state.name != "FAIL":
                for folder in folder_of(self.output, trial.number).glob("version_*/checkpoints"):
                    shutil.rmtree(folder, ignore_errors=True)


class Claim:
    """A trial that this process trains.

    Args:
        trials: The trials that it belongs to.
        trial: The trial; its settings that have no value yet get one.
        lock: Its lock.
    """

    def __init__(self, trials: Trials, trial: "Trial", lock: FileLock) -> None:
        self._trials, self._trial, self._lock = trials, trial, lock
        self.number = trial.number
        self.folder = folder_of(trials.output, trial.number)
        self.is_pruned = False
        self.ranges = trials.search.ranges
        self.values = {one.key: _suggest(trial, one) for one in self.ranges}

    def goes_on(self, epoch: Epoch) -> bool:
        """Records an epoch, and decides whether the trial goes on.

        Args:
            epoch: The epoch.
        """
        with warnings.catch_warnings():
            # A trial that was taken up may repeat epochs.
            warnings.filterwarnings("ignore", message="The reported value is ignored")
            self._trial.report(epoch.value, epoch.number)
        is_last = 0 < epoch.total <= epoch.number
        self.is_pruned = self.is_pruned or (not is_last and self._trial.should_prune())
        return not self.is_pruned

    def end(self, found: Result | RunError) -> "FrozenTrial":
        """Records the end of the trial.

        Args:
            found: The results, or why there are none.

        Returns:
            The trial as it is recorded.
        """
        from optuna.trial import TrialState

        trials = self._trials
        with trials.locked():
            if isinstance(found, Result) and math.isfinite(found.best):
                self._note(
                    epochs=found.epochs,
                    seconds=found.curve[-1][0] if found.curve else None,
                    parameters=found.parameters,
                )
                state, value = TrialState.COMPLETE, found.best
            elif isinstance(found, RunError) and self.is_pruned:
                state, value = TrialState.PRUNED, None
            else:
                if isinstance(found, Result):
                    found = RunError(f"{found.monitor} is {found.best}")
                self._note(error=str(found))
                state, value = TrialState.FAIL, None
            told = trials.study.tell(self.number, value, state)
            trials.remove_checkpoints()
        return told

    def leave(self) -> None:
        """Gives the trial up; if it has not ended, it can be taken up."""
        self._trials.release(self.number, self._lock)

    def _note(self, **values: float | str | None) -> None:
        for name, value in values.items():
            self._trial.set_user_attr(name, value)


def _suggest(trial: "Trial", one: Range) -> Value:
    from optuna import distributions as kinds

    kind = one.distribution()
    if isinstance(kind, kinds.CategoricalDistribution):
        return trial.suggest_categorical(one.key, one.choices)
    if isinstance(kind, kinds.IntDistribution):
        return trial.suggest_int(one.key, kind.low, kind.high, step=kind.step, log=kind.log)
    assert isinstance(kind, kinds.FloatDistribution)
    return trial.suggest_float(one.key, kind.low, kind.high, step=kind.step, log=kind.log)


def _sampler(search: Search, number: int) -> "BaseSampler":
    import numpy as np
    from optuna import samplers

    seed = int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])
    if search.sampler == "tpe":
        return samplers.TPESampler(seed=seed)
    return samplers.RandomSampler(seed=seed)


def _pruner(search: Search) -> "BasePruner":
    from optuna import pruners

    if search.pruner == "median":
        # After one epoch, the metric says little, above all if the learning rate warms up.
        return pruners.MedianPruner(n_warmup_steps=2)
    if search.pruner == "hyperband":
        return pruners.HyperbandPruner(max_resource=search.epochs or "auto")
    return pruners.NopPruner()
