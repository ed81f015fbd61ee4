"""Compares a quantized checkpoint with its original."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from srulight.bench.timing import medians
from srulight.commands.training import TrainingCLI, quiet
from srulight.data.base import Split, TaskData
from srulight.runtime.terminal import decimal
from srulight.tasks.base import Task

BATCHES = (1, 32)
"""Numbers of examples with which the speed is measured."""

_SAME = 0.03  # a difference of the speeds that is not worth a sentence


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
            [path.stat().st_size / 1e6 for path in (before, after)],
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
            before, after = times["before"], times["after"]
            self.rows.append((f"batch of {size}, ms", before * 1e3, after * 1e3))
            self.sentences.append(_said(size, before, after))

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
) -> dict[str, float]:
    """Measures evaluation steps of tasks that take turns.

    A step consists of the network, the decoding if there is one, and the metrics.

    Args:
        cli: Command line that has run ``test`` or ``validate``.
        tasks: The tasks by name.
        split: "val" or "test".
        size: Number of examples, of about median length.
        seconds: Approximate duration of the measurement, in seconds.

    Returns:
        Median duration of a step of each task, in seconds.
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
    found = medians({name: lambda t=task: step(t) for name, task in tasks.items()}, seconds)  # type: ignore[misc]
    for task in tasks.values():
        (task.val_metrics if split == "val" else task.test_metrics).reset()
    return found


def _said(size: int, before: float, after: float) -> str:
    what = "a single example" if size == 1 else f"a batch of {size}"
    if after > before * (1 + _SAME):
        times = f"{after / before:.2f} times"
        return f"With {what}, the quantized model is slower: it takes {times} as long."
    if before > after * (1 + _SAME):
        return f"With {what}, the quantized model is {before / after:.2f} times as fast."
    return f"With {what}, both models take about the same time."
