"""What a sweep has found: a table, files and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from lightning_utilities.core.imports import module_available

from srulight.commands.configurations import read_config
from srulight.experiments.trials import Trials, folder_of
from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError
from srulight.runtime.program import program
from srulight.runtime.table_writing import table_writer
from srulight.runtime.terminal import decimal, printable, shortened

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_SHOWN = 10  # trials in the table
_WIDEST = 32  # columns of a value in the table
_STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}


def report(trials: Trials, monitor: str, trainer: Mapping[str, Any]) -> None:
    """Prints the best trials, and writes the files and pictures.

    Args:
        trials: The trials.
        monitor: Name of the metric.
        trainer: Settings of the trainer for the best configuration, in place of those of the trial.

    Raises:
        InputError: If all trials failed.
    """
    ended = trials.ended()
    if not ended:
        print("no trial has ended; run the same command to resume the sweep")
        return
    with trials.locked():
        paths = [_save_table(trials, monitor)]
        if best := trials.best():
            paths.insert(0, _save_best(trials, best, trainer))
    states = [_STATES[trial.state.name] for trial in ended]
    if {*states} == {"failed"}:
        raise InputError(
            f"all {len(ended)} trials failed, the last one because "
            f"{max(ended, key=lambda trial: trial.number).user_attrs.get('error')}; correct the "
            f"configuration or the ranges, and delete {trials.output} to start again"
        )
    counts = [f"{states.count(name)} {name}" for name in _STATES.values() if name in states]
    head = f"{len(ended)} trials: {', '.join(counts)}"
    keys = [one.key for one in trials.search.ranges]
    print("\n".join([head, "", *table(ended, monitor, keys), ""]))
    has_pictures = module_available("matplotlib")
    if has_pictures:
        from srulight.experiments import sweep_plots

        paths += sweep_plots.save(trials, monitor)
    print(f"saved {', '.join(str(path) for path in paths)}")
    if not has_pictures:
        print('pictures need matplotlib; install it: pip install "srulight[sweep]"')
    if best:
        print(f"train with the best settings: {program()} fit --config {paths[0]}")


def table(ended: Sequence["FrozenTrial"], monitor: str, keys: Sequence[str]) -> list[str]:
    """Returns the lines of a table of the best trials.

    Args:
        ended: Trials that have ended, the best first.
        monitor: Name of the metric.
        keys: Names of the settings that were searched.
    """
    shown = [trial for trial in ended if trial.state.name == "COMPLETE"][:_SHOWN]
    head = ["trial", monitor, "epochs", *(_short_names(keys))]
    rows = [
        [
            str(trial.number),
            decimal(trial.value or 0.0),
            str(trial.user_attrs.get("epochs", "")),
            *(_cell(trial.params.get(key, "")) for key in keys),
        ]
        for trial in shown
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in (head, *rows)
    ]


def _short_names(keys: Sequence[str]) -> list[str]:
    """Returns the last parts of names, as few as tell them apart."""
    parts = [key.split(".") for key in keys]
    for count in range(1, max(map(len, parts), default=1)):
        names = [".".join(one[-count:]) for one in parts]
        if len({*names}) == len(names):
            return names
    return list(keys)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return shortened(printable(str(value)), _WIDEST)


def _save_table(trials: Trials, monitor: str) -> Path:
    keys = [one.key for one in trials.search.ranges]
    columns = ["trial", "state", monitor, "epochs", "seconds", "parameters", *keys, "error"]
    header, line = table_writer("csv", columns)
    path = trials.output / "trials.csv"
    with written(path) as part:
        rows = [
            {
                **trial.params,
                "trial": trial.number,
                "state": _STATES[trial.state.name],
                monitor: trial.value,
                "epochs": max(trial.intermediate_values, default=0),
                "seconds": trial.user_attrs.get("seconds"),
                "parameters": trial.user_attrs.get("parameters"),
                "error": trial.user_attrs.get("error"),
            }
            for trial in sorted(trials.ended(), key=lambda trial: trial.number)
        ]
        part.write_text(header + "".join(map(line, rows)), encoding="utf-8")
    return path


def _save_best(trials: Trials, best: "FrozenTrial", trainer: Mapping[str, Any]) -> Path:
    """Writes the configuration of the best trial, as ``fit`` takes it."""
    folder = folder_of(trials.output, best.number)
    found = sorted(folder.glob("version_*/config.yaml"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise InputError(
            f"{folder}: expected the configuration of the best trial, got no config.yaml; delete "
            f"{trials.output} to start again"
        )
    configuration = read_config(found[-1])
    for name in ("ckpt_path", "weights_only"):  # of a trial that was resumed
        configuration.pop(name, None)
    configuration["trainer"] |= trainer
    path = trials.output / "best.yaml"
    metric = f"trial {best.number} of {trials.output}"
    with written(path) as part:
        text = yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True)
        part.write_text(f"# The best configuration of a sweep: {metric}\n{text}", encoding="utf-8")
    return path
