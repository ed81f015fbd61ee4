"""Prints one line per epoch."""

import time

from lightning import Callback, LightningModule, Trainer

_WIDTH = 110
_LOSSES = ("val/loss", "train/loss")  # The line leaves out other metrics first.


class EpochLine(Callback):
    """Prints the metrics of each epoch in a line, which stays after the progress bar has gone.

    The metric that selects the best checkpoint comes first. Metrics that do not fit into the line
    are only in the log. The time covers the whole epoch, including validation and checkpoints. If a
    run resumes in the middle of an epoch, the time covers the rest of that epoch.

    Args:
        monitor: Name of the metric that selects the best checkpoint.
    """

    def __init__(self, monitor: str) -> None:
        self._monitor = monitor
        self._start = 0.0
        self._batches = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin()

    def on_train_batch_end(self, *_: object) -> None:
        self._batches += 1

    # Print when the next epoch starts: only then are all metrics of an epoch logged.
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)

    def _begin(self) -> None:
        self._start = time.perf_counter()
        self._batches = 0

    def _print(self, trainer: Trainer) -> None:
        if self._batches:
            values = {name: value.item() for name, value in trainer.callback_metrics.items()}
            seconds = time.perf_counter() - self._start
            head = f"epoch {trainer.current_epoch - 1} ({seconds:.1f} s)"
            trainer.print(line(head, values, self._monitor))
        self._begin()


def line(head: str, values: dict[str, float], monitor: str) -> str:
    """Formats as many metrics as fit into a line, the one of the best checkpoint first.

    Args:
        head: Start of the line.
        values: Metrics by name.
        monitor: Name of the metric that comes first.
    """

    def rank(name: str) -> tuple[bool, ...]:
        # False comes before True.
        return (
            name != monitor,
            not name.startswith("val/"),
            name != "train/loss",
            not name.endswith("_per_second"),
            not name.startswith("lr"),
        )

    names = sorted(values, key=lambda name: (rank(name), name))
    items: dict[str, str] = {}
    text = ""
    for name in sorted(names, key=lambda name: name not in (monitor, *_LOSSES)):
        value = values[name]
        items[name] = f"{name} {value:,.0f}" if abs(value) >= 1000 else f"{name} {value:.4g}"
        longer = f"{head}: {', '.join(items[name] for name in names if name in items)}"
        if text and len(longer) > _WIDTH:
            break
        text = longer
    return text
