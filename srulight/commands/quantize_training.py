"""What ``quantize`` does with training data: it calibrates activations, and trains codebooks."""

import copy
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from srulight.commands.training import TrainingCLI, quiet
from srulight.data.base import TaskData
from srulight.quantization import CodebookMatrix, QuantizedRNN, calibrate
from srulight.runtime.progress import progress
from srulight.runtime.terminal import decimal
from srulight.tasks.base import Task
from srulight.training.callbacks.epoch_line import EpochLine
from srulight.training.callbacks.progress_bar import ProgressBar

SHARE = 0.1
"""Learning rate of fine-tuning, relative to the one in the configuration."""

_KEPT = (
    "precision", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches",
    "limit_train_batches", "limit_val_batches",
)  # fmt: skip


def calibrate_task(task: Task, cli: TrainingCLI, most: int) -> None:
    """Sets the ranges of the activations to what occurs in training data.

    Args:
        task: The quantized task.
        cli: Command line that has evaluated the original, which has the data.
        most: Largest number of training batches.
    """
    data = cli.datamodule
    assert isinstance(data, TaskData)
    data.setup("fit")

    def batches() -> Iterator[Any]:
        yield from islice(iter(data.train_dataloader()), most)

    with torch.inference_mode():
        shown = progress(batches(), "calibrating", most)
        matrices, count = calibrate(task, shown, task.loss)
    task.recurrent_state = None
    rank_zero_info(f"calibrated the activations of {matrices} matrices on {count} training batches")


def fine_tune(
    task: Task,
    cli: TrainingCLI,
    trained: Collection[nn.Parameter],
    epochs: int,
    learning_rate: float | None,
) -> None:
    """Trains codebooks and other parameters with rounded activations, in place.

    The optimizer, the data and the losses are those of ``fit``; the learning rate is constant. A
    step rounds the entries of the codebooks, and the activations, as the quantized model does.
    Their gradients pass through the rounding (the straight-through estimator of Bengio et al.
    (2013), arXiv 1308.3432), except for those of activations outside the range. The gradient of an
    entry is the sum over all weights that select it (Han et al. (2016), arXiv 1510.00149). Which
    entry a weight selects does not change. Fixed ranges of activations follow each batch.

    The task ends with the parameters of the epoch with the best validation, which may be those
    before the first one.

    Args:
        task: The quantized task.
        cli: Command line that has evaluated the original, which has the data and the settings.
        trained: The parameters of the original that were trained.
        epochs: Number of epochs, at least 1.
        learning_rate: Learning rate; a tenth of that in the configuration if None.
    """
    data, original = cli.datamodule, cli.model
    assert isinstance(data, TaskData)
    assert isinstance(original, Task)
    monitor, mode = original.monitored(data)
    matrices = [m for m in task.modules() if isinstance(m, CodebookMatrix)]
    for matrix in matrices:
        matrix.train_codebook()
    kept = {id(parameter) for parameter in trained}
    for parameter in task.parameters():
        if id(parameter) in kept:
            parameter.requires_grad_()
    task.optimizer_factory, task.scheduler_factory = original.optimizer_factory, None
    best = _Best(monitor, mode, learning_rate)
    config = cli.config.get(cli.subcommand or "", cli.config)["trainer"]
    shown = config["enable_progress_bar"] in (None, True)
    with quiet():
        trainer = Trainer(
            **{name: config[name] for name in _KEPT},
            accelerator=cli.trainer.accelerator,
            devices=1,
            max_epochs=epochs,
            num_sanity_val_steps=0,
            inference_mode=False,  # whose tensors training could not change
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=shown,
            use_distributed_sampler=False,
            callbacks=[best, EpochLine(monitor), *([ProgressBar(monitor)] if shown else [])],
        )
        trainer.validate(task, datamodule=data, verbose=False)
        task.train()
        trainer.fit(task, datamodule=data)
    task.recurrent_state = None
    task.load_state_dict(best.weights)
    task.cpu().eval().requires_grad_(False)
    for matrix in matrices:
        matrix.keep_codebook()
    for module in task.modules():
        if isinstance(module, QuantizedRNN):
            module.forget()
    after = "before fine-tuning" if best.epoch < 0 else f"of epoch {best.epoch}"
    rank_zero_info(f"kept the weights {after}, with {monitor} {decimal(best.value)}")


class _Best(Callback):
    """Remembers the weights of the best validation, and sets the learning rate."""

    def __init__(self, monitor: str, mode: str, learning_rate: float | None) -> None:
        self.weights: dict[str, Tensor] = {}
        self.epoch, self.value = -1, float("nan")
        self._monitor, self._sign = monitor, 1 if mode == "max" else -1
        self._learning_rate = learning_rate
        self._trains = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trains = True
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                given: Any = self._learning_rate
                group["lr"] = group["lr"] * SHARE if given is None else given

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = float(trainer.callback_metrics[self._monitor])
        if not self.weights or self._sign * value > self._sign * self.value:
            self.value, self.epoch = value, trainer.current_epoch if self._trains else -1
            self.weights = copy.deepcopy(pl_module.state_dict())
