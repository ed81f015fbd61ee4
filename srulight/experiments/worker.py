"""The process of one training: it trains, tests, measures, and writes the results."""

import json
import os
import re
import statistics
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import torch
from filelock import FileLock
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities import move_data_to_device

from srulight.commands.failures import sentence
from srulight.commands.training import TrainingCLI, build, silence_noise
from srulight.data.base import TaskData
from srulight.experiments.run import LOG, Epoch, Result, Run
from srulight.runtime.errors import InputError
from srulight.runtime.machine import describe
from srulight.runtime.provenance import versions
from srulight.tasks.base import Task

BATCHES = (1, 32)
"""Batch sizes at which the latency is measured."""

_RATE = re.compile(r"train/\w+_per_second")
_SECONDS, _LEAST, _MOST = 1.0, 3, 30  # time, and number of test steps, to measure a latency


class ReportEpochs(Callback):
    """Writes a line of JSON after every validation.

    Args:
        file: File to write to.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the line.

        Args:
            trainer: The trainer.
            pl_module: The task.
        """
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Task)
        name, _ = pl_module.monitored(trainer.datamodule)  # type: ignore[attr-defined]
        total = -1 if trainer.max_epochs is None else trainer.max_epochs
        value = trainer.callback_metrics[name].item()
        epoch = Epoch(trainer.current_epoch + 1, total, value)
        self._file.write(json.dumps(vars(epoch)) + "\n")
        self._file.flush()


def work(run: Run, file: TextIO) -> Result:
    """Trains, and tests and measures if the run asks for it.

    Args:
        run: The training.
        file: File that receives a line of JSON after each epoch.

    Returns:
        The results.
    """
    silence_noise()
    root = f"--trainer.default_root_dir={run.folder}"
    quiet = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
    trained = build(
        ["fit", *run.options, root, *quiet, "--ckpt_path=auto"], callbacks=[ReportEpochs(file)]
    )
    result = _trained(trained)
    if not run.test:
        return result
    tested = build(["test", "--ckpt_path=best", root, *quiet])
    metrics = tested.trainer.callback_metrics
    return Result(
        **vars(result)
        | {
            "test": {k.removeprefix("test/"): v.item() for k, v in metrics.items()},
            "latency": {str(n): latency(tested, n) for n in BATCHES},
        }
    )


def _trained(cli: TrainingCLI) -> Result:
    """Gathers the results of a finished training."""
    assert cli.log is not None
    monitor, mode = cli.model.monitored(cli.datamodule)
    rows = cli.log.table.rows
    points = [(float(r["train/seconds"]), float(r[monitor])) for r in rows if monitor in r]
    if not points:
        raise InputError(
            f"the training ended without a validation of {monitor}; raise --trainer.max_epochs, or "
            "remove --trainer.limit_val_batches=0"
        )
    best = (max if mode == "max" else min)(value for _, value in points)
    names = [name for row in rows for name in row if _RATE.fullmatch(name)]
    rates = [float(row[name]) for row in rows if (name := names[-1]) in row] if names else []
    unit = names[-1].removeprefix("train/").removesuffix("_per_second") if names else "samples"
    device = cli.trainer.strategy.root_device
    return Result(
        monitor=monitor,
        mode=mode,
        best=best,
        epochs=cli.trainer.current_epoch,
        curve=points,
        seconds_per_epoch=per_epoch(points, cli.trainer.current_epoch),
        rate=statistics.median(rates) if rates else None,
        unit=unit,
        parameters=sum(p.numel() for p in cli.model.parameters()),
        peak_memory=peak_memory(device),
        steps=cli.trainer.global_step,
        machine=describe(),
        versions=versions("lightning"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def per_epoch(curve: list[tuple[float, float]], epochs: int) -> float:
    """Returns the median duration of an epoch, without the first one if there are several.

    Args:
        curve: Training time until each validation, in seconds, and a value.
        epochs: Number of epochs. There may be several validations per epoch, or one for several
            epochs.
    """
    ends = [0.0, *(seconds for seconds, _ in curve)]
    parts = [end - begin for begin, end in pairwise(ends)]
    return statistics.median(parts[1:] or parts) * len(parts) / max(epochs, 1)


def peak_memory(device: torch.device) -> int | None:
    """Returns the largest amount of memory used so far, in bytes; None if the system does not tell.

    Args:
        device: For a GPU, the memory that torch has allocated there; otherwise, that of the
            process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else 1024 * used


@torch.inference_mode()
def latency(cli: TrainingCLI, size: int) -> float:
    """Measures a test step: the network, the decoding if there is one, and the metrics.

    Args:
        cli: Command line that has run ``test``.
        size: Number of examples, of about median length.

    Returns:
        Median duration of the step, in seconds.
    """
    task, data, trainer = cli.model, cli.datamodule, cli.trainer
    assert isinstance(task, Task)
    assert isinstance(data, TaskData)
    device = trainer.strategy.root_device
    task.to(device).eval()
    batch: Any = move_data_to_device(data.sample("test", size), device)
    seconds: list[float] = []
    while len(seconds) < _LEAST or (sum(seconds) < _SECONDS and len(seconds) < _MOST):
        start = time.perf_counter()
        with trainer.precision_plugin.forward_context():
            task.test_step(batch, 0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    task.test_metrics.reset()
    return statistics.median(seconds[1:])


def main() -> None:
    """Runs the training whose folder is the only argument."""
    run = Run.read(Path(sys.argv[1]))
    # Only lines of JSON go to the standard output; everything else goes to the log.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    log = os.open(run.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        # An earlier worker may still be running if the process that started it was killed.
        with FileLock(run.folder / ".lock"):
            run.save(work(run, lines))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("SRULIGHT_DEBUG"):
            raise
        sys.exit(f"error: {sentence(error)}")


if __name__ == "__main__":
    main()
