"""One training of an experiment: its settings, its folder and its results."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError

WORKER = (sys.executable, "-m", "srulight.experiments.worker")
"""Command of the process of a training; the folder follows."""

SPEC, RESULT, LOG = "settings.json", "result.json", "run.log"


@dataclass(frozen=True)
class Epoch:
    """What a training reports after an epoch.

    Attributes:
        number: Number of epochs trained.
        total: Number of epochs to train; -1 if it is unknown.
        value: Value of the metric that selects the best checkpoint.
    """

    number: int
    total: int
    value: float


@dataclass(frozen=True)
class Result:
    """The results of a training.

    Attributes:
        monitor: Name of the metric that selects the best checkpoint, such as val/accuracy.
        mode: "max" if larger values of that metric are better, or "min".
        best: Its best value.
        epochs: Number of epochs trained.
        curve: For each validation, the training time so far in seconds, without validations, and
            the value of the metric.
        seconds_per_epoch: Median training time of an epoch, in seconds, without the first epoch if
            there are several.
        rate: Median number of samples or tokens trained per second; None if it was not logged.
        unit: What ``rate`` counts, such as "samples" or "tokens".
        parameters: Number of parameters of the network.
        peak_memory: Largest amount of memory of the process during training, in bytes. On a GPU,
            the largest amount that torch had allocated there. None if the system does not tell.
        steps: Number of optimizer steps.
        test: Test metrics of the best checkpoint by name, without test/; empty without a test.
        latency: Seconds of one test step at a batch size, by the batch size as text; empty without
            a test.
        machine: Description of the machine, as from ``runtime.machine.describe``.
        versions: Versions of Python, torch and srulight.
        finished: When the training finished, in UTC (ISO 8601).
    """

    monitor: str
    mode: str
    best: float
    epochs: int
    curve: list[tuple[float, float]]
    seconds_per_epoch: float
    rate: float | None
    unit: str
    parameters: int
    peak_memory: int | None
    steps: int
    test: dict[str, float] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    finished: str = ""


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        folder: Folder of the training. It receives the settings, the log, the checkpoints and, in
            the end, the results.
        options: Options of the command ``fit``, without the folder.
        test: Whether to test the best checkpoint, and to measure the latency.
    """

    folder: Path
    options: tuple[str, ...]
    test: bool = True

    def result(self) -> Result | None:
        """Returns the results; None if the training is not finished.

        Raises:
            InputError: If the folder contains a training with other settings, or damaged results.
        """
        self._check()
        path = self.folder / RESULT
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return Result(**found | {"curve": [tuple(pair) for pair in found["curve"]]})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}: expected the results of a training, got {type(error).__name__}: {error}; "
                "delete the file to train again"
            ) from error

    def _check(self) -> None:
        path = self.folder / SPEC
        if not path.is_file():
            return
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: expected JSON: {error}; delete the folder") from error
        if earlier != self._settings():
            raise InputError(
                f"{self.folder} contains a training with other settings; choose another --output, "
                f"or delete the folder to train again ({path.name} has the settings)"
            )

    def _settings(self) -> dict[str, Any]:
        return {"options": list(self.options), "test": self.test}

    def begin(self) -> None:
        """Writes the settings into the folder."""
        self._check()
        with written(self.folder / SPEC) as part:
            part.write_text(json.dumps(self._settings(), indent=1), encoding="utf-8")

    def save(self, result: Result) -> None:
        """Writes the results into the folder.

        Args:
            result: The results.
        """
        with written(self.folder / RESULT) as part:
            part.write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Reads the settings that ``begin`` has written.

        Args:
            folder: Folder of the training.
        """
        settings = json.loads((folder / SPEC).read_text(encoding="utf-8"))
        return cls(folder, tuple(settings["options"]), settings["test"])


class RunError(Exception):
    """A training that ended without results; its message says why, in a sentence."""


class Process:
    """A training in a process of its own, which resumes if an earlier one was interrupted.

    Args:
        run: The training.
        threads: Number of CPU threads.
    """

    def __init__(self, run: Run, threads: int) -> None:
        run.begin()
        self.run = run
        log = run.folder / LOG
        self._begun = log.stat().st_size if log.is_file() else 0  # what earlier processes wrote
        self._process = subprocess.Popen(
            [*WORKER, str(run.folder)],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, encoding="utf-8",
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            # Ctrl-C would interrupt each training twice: once as a member of the terminal's process
            # group, and once by stop().
            start_new_session=True,
        )  # fmt: skip

    def epochs(self) -> Iterator[Epoch]:
        """Yields what the training reports after each epoch, until it ends."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                yield Epoch(**json.loads(line))

    def finish(self) -> Result:
        """Waits for the end.

        Returns:
            The results.

        Raises:
            RunError: If the training failed.
        """
        with self._process:  # closes the pipe
            code = self._process.wait()
        if code == 0 and (result := self.run.result()) is not None:
            return result
        raise RunError(self._reason(code))

    def stop(self) -> None:
        """Asks the training to stop; it saves a checkpoint first, so that it can resume."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def _reason(self, code: int) -> str:
        log = self.run.folder / LOG
        text = log.read_bytes()[self._begun :].decode(errors="replace") if log.is_file() else ""
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        if errors:
            return errors[-1].removeprefix("error: ")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        return f"the process {how}; see {log}"
