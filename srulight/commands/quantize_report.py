"""Compares a quantized checkpoint with its original."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from srulight.bench.statistics import LEAST, Estimate, ratio
from srulight.bench.timing import Run, rounds, warm_up
from srulight.commands.training import TrainingCLI, quiet
from srulight.data.base import Split, TaskData
from srulight.runtime.terminal import decimal
from srulight.tasks.base import Task

BATCHES = (1, 32)
"""Numbers of examples with which the speed is measured."""

_SAME = 0.02  # a difference of the speeds that is not worth a sentence


class Comparison:
    """Metrics, sizes and speeds of a checkpoint before and after it was quantized.

    Args:
        before: Path of the original.
        after: Path of the quantized checkpoint.
        weights: Weights of the original.
        quantized: Weights of the quantized checkpoint.
    """

    def __init__(
        self,
        before: Path,
        after: Path,
        weights: Mapping[str, Tensor],
        quantized: Mapping[str, Tensor],
    ) -> None:
        files, tensors = (
            [_size(path) / 1e6 for path in (before, after)],
            [stored_bytes(w) / 1e6 for w in (weights, quantized)],
        )
        self.rows: list[tuple[str, float, float]] = [
            ("checkpoint, MB", files[0], files[1]),
            ("weights, MB", tensors[0], tensors[1]),
        ]
        self.sentences: list[str] = []

    def evaluate(self, cli: TrainingCLI, quantized: Task, seconds: float) -> None:
        """Adds metrics and speeds.

        Args:
            cli: Command line that has run ``test`` or ``validate`` with the original.
            quantized: The quantized task.
            seconds: Duration of each measurement of the speed, in seconds; 0 for none.
        """
        original, data = cli.model, cli.datamodule
        assert isinstance(original, Task)
        assert isinstance(data, TaskData)
        values = dict(cli.trainer.callback_metrics)
        split: Split = "val" if cli.subcommand == "validate" else "test"
        run = cli.trainer.validate if split == "val" else cli.trainer.test
        with quiet():
            run(quantized, datamodule=data, verbose=False)
        again = cli.trainer.callback_metrics
        first = original.monitored(data)[0].partition("/")[2]
        order = sorted(values, key=lambda name: (not name.endswith(f"/{first}"), name))
        metrics = [(name, values[name].item(), again[name].item()) for name in order]
        self.rows = metrics + self.rows
        if seconds <= 0:
            return
        for size in BATCHES:
            times = latencies(cli, {"before": original, "after": quantized}, split, size, seconds)
            before, after = (1e3 * median(times[name]) for name in ("before", "after"))
            self.rows.append((f"batch of {size}, ms", before, after))
            self.sentences.append(said(size, ratio(times["after"], times["before"])))

    def text(self) -> str:
        """Returns a table, and a sentence about each speed."""
        width = max(len(name) for name, _, _ in self.rows)
        lines = [f"{'':{width}}  {'before':>10}  {'after':>10}"]
        for name, *pair in self.rows:
            lines.append(f"{name:{width}}  " + "  ".join(f"{decimal(v):>10}" for v in pair))
        return "\n".join([*lines, *self.sentences])


def stored_bytes(weights: Mapping[str, Tensor]) -> int:
    """Returns the bytes of some tensors, counting those that share their memory once."""
    storages = [w.untyped_storage() for w in weights.values()]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@torch.inference_mode()
def latencies(
    cli: TrainingCLI, tasks: Mapping[str, Task], split: Split, size: int, seconds: float
) -> dict[str, list[float]]:
    """Measures evaluation steps of tasks that take turns.

    A step consists of the network, the decoding if there is one, and the metrics.

    Args:
        cli: Command line that has run ``test`` or ``validate``.
        tasks: The tasks by name.
        split: "val" or "test".
        size: Number of examples, of about median length.
        seconds: Approximate duration of the measurement, in seconds.

    Returns:
        Duration of a step of each task in each round, in seconds.
    """
    data, trainer = cli.datamodule, cli.trainer
    assert isinstance(data, TaskData)
    device = trainer.strategy.root_device
    batch: Any = move_data_to_device(data.sample(split, size), device)

    def step(task: Task) -> None:
        with trainer.precision_plugin.forward_context():
            (task.validation_step if split == "val" else task.test_step)(batch, 0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for task in tasks.values():
        task.to(device).eval()
    runs: dict[str, Run] = {name: partial(step, task) for name, task in tasks.items()}
    warm = {name: warm_up(one) for name, one in runs.items()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _, times in rounds(runs, warm, seconds, LEAST):
        for name, duration in times.items():
            found[name].append(duration)
    for task in tasks.values():
        (task.val_metrics if split == "val" else task.test_metrics).reset()
    return found


def _size(checkpoint: Path) -> int:
    """Returns the size of a checkpoint in bytes; it may be a folder."""
    files = checkpoint.iterdir() if checkpoint.is_dir() else [checkpoint]
    return sum(path.stat().st_size for path in files)


def said(size: int, times: Estimate) -> str:
    """Returns a sentence about the speed of the quantized model.

    Args:
        size: Number of examples.
        times: Its duration as a multiple of that of the original, with the interval of the median.
    """
    what = "a single example" if size == 1 else f"a batch of {size}"
    if times.low <= 1 + _SAME and times.high >= 1 - _SAME:
        verdict = "is neither clearly faster nor slower"
    else:
        verdict = "is slower" if times.median > 1 else "is faster"
    interval = f"{times.low:.2f} to {times.high:.2f}"
    return (
        f"With {what}, the quantized model {verdict}: {times.median:.2f} ({interval}) times the "
        "time."
    )
