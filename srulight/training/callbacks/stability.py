"""How near training is to breaking down, and an end to it when it has."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from srulight.encoders.base import PeepholeLayer
from srulight.runtime.errors import InputError
from srulight.training.resume.last_checkpoint import LastCheckpoint
from srulight.training.resume.lightning_internals import last_saved, unscales_itself


class Stability(Callback):
    """Logs two early signs that training breaks down, and stops it once the loss is not finite.

    Every ``log_every_n_steps`` steps of the optimiser, at no cost on the steps between (a compiled
    task is not compiled at these steps, if it has layers to look into):

    - ``train/gradient_norm``, the L2 norm of all gradients before they are clipped;
    - ``train/growing_states``, the share, 0 to 1, of steps and channels at which a change of the
      last state makes a larger one of the next, |dc_t / dc_(t-1)| > 1, in the layers whose gates
      see the state; of the first sequence of the batch.

    A checkpoint whose weights are not all finite is not written, so that the last good one stays.
    """

    def __init__(self) -> None:
        self._hooks: list[RemovableHandle] = []
        self._growing: list[Tensor] = []  # numbers of states that grow, of each layer
        self._states: list[Tensor] = []  # and of all
        self._losses: list[tuple[int, Tensor]] = []  # since the last look, with their steps
        self._batches = 0  # since the last look
        self._logs = False  # whether the step under way is logged

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        # Asked once a batch: Lightning takes a while to say which step it is.
        self._logs = _logs(trainer)
        if self._logs:
            self._hooks = [
                module.register_forward_hook(self._measure, with_kwargs=True)
                for module in pl_module.modules()
                if isinstance(module, PeepholeLayer)
            ]
        if self._hooks:
            # Compiled code knows no hook that came later.
            torch.compiler.set_stance("force_eager")

    @torch.no_grad()
    def _measure(
        self,
        module: nn.Module,
        args: tuple[Tensor, ...],
        kwargs: dict[str, Tensor],
        output: object,
    ) -> None:
        assert isinstance(module, PeepholeLayer)
        x, state, lengths = _first(*args, **kwargs)
        # Dropout must not draw: a run is the same whether or not it is watched.
        training = [part for part in module.modules() if part.training]
        module.eval()
        state_jacobian = module.state_jacobian(x, state, lengths)
        for part in training:
            part.training = True
        if state_jacobian is None:
            return
        steps = state_jacobian.new_tensor([state_jacobian.size(1)]) if lengths is None else lengths
        # Padded steps have a derivative of 1 and do not count.
        self._growing.append((state_jacobian.abs() > 1).sum())
        self._states.append(steps.sum() * state_jacobian.size(2))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if not self._logs:
            return
        norm = get_total_norm([p.grad for p in pl_module.parameters() if p.grad is not None])
        plugin = trainer.precision_plugin
        scaler = plugin.scaler if isinstance(plugin, MixedPrecision) else None
        # Otherwise the precision plugin has divided by the scale already.
        if scaler is not None and unscales_itself(optimizer):
            norm = norm / scaler.get_scale()
        pl_module.log("train/gradient_norm", norm, on_step=True, on_epoch=False)
        if self._growing:
            share = torch.stack(self._growing).sum() / torch.stack(self._states).sum()
            pl_module.log("train/growing_states", share, on_step=True, on_epoch=False)
            self._forget()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        self._remove_hooks()
        if isinstance(outputs, Mapping) and "loss" in outputs:
            self._losses.append((trainer.global_step, outputs["loss"]))
        self._batches += 1
        # To look means to wait for a GPU, and for the other processes.
        waits = pl_module.device.type != "cpu" or trainer.world_size > 1
        if self._batches >= (_every(trainer) or 50 if waits else 1):
            self._look(trainer)

    # What follows is all that comes before a checkpoint may be saved.
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._look(trainer)
        finite = all(bool(p.isfinite().all()) for p in pl_module.parameters())
        if not trainer.strategy.reduce_boolean_decision(finite):
            raise InputError(
                f"the weights are not all finite after step {trainer.global_step}; training "
                f"stopped and they were not saved, {_advice(trainer)}"
            )

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._remove_hooks()
        self._forget()

    def _forget(self) -> None:
        self._growing = []
        self._states = []

    def _remove_hooks(self) -> None:
        if self._hooks:
            torch.compiler.set_stance("default")
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _look(self, trainer: Trainer) -> None:
        """Raises, in all processes, if a loss since the last look was not finite in any."""
        steps = [step for step, _ in self._losses]
        values = torch.stack([loss for _, loss in self._losses]).flatten().tolist() if steps else []
        self._losses = []
        self._batches = 0
        bad = [(s, v) for s, v in zip(steps, values, strict=True) if not math.isfinite(v)]
        if trainer.strategy.reduce_boolean_decision(bool(bad), all=False):
            # A process that only hears of it knows neither the value nor the exact step.
            what = (
                f"the loss is {bad[0][1]} at step {bad[0][0]}"
                if bad
                else f"the loss of another process is not finite by step {trainer.global_step}"
            )
            raise InputError(f"{what}; training stopped, {_advice(trainer)}")


def _logs(trainer: Trainer) -> bool:
    """Tells whether the step under way is one that is logged."""
    every = _every(trainer)
    return every > 0 and (trainer.global_step + 1) % every == 0


def _every(trainer: Trainer) -> int:
    return trainer.log_every_n_steps  # type: ignore[attr-defined]


def _first(
    x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Cuts the arguments of a layer down to the first sequence."""
    return (
        x[:1],
        None if state is None else state[:1],
        None if lengths is None else lengths[:1],
    )


def _advice(trainer: Trainer) -> str:
    paths = [
        Path(path)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
        for path in (
            # The other two already name a file while it is being written, and it may never be.
            last_saved(callback),
            callback.last_model_path,
            callback.best_model_path,
        )
        if path and Path(path).exists()
    ]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, LastCheckpoint) and callback.path.is_file():
            paths.append(callback.path)
    saved = max(paths, key=lambda path: path.stat().st_mtime, default=None)
    remedies = "lower the learning rate, clip gradients (--trainer.gradient_clip_val=1)"
    gates = "the reset gates lower (--model.encoder.highway_bias=-2)"
    if saved is None:
        return f"no checkpoint was saved yet: {remedies} or start {gates}"
    here = Path.cwd()
    path = saved.relative_to(here) if saved.is_relative_to(here) else saved
    # Gates start anew only in a new run.
    return (
        f"the last good checkpoint is {path}: {remedies} and resume with --ckpt_path={path}, or "
        f"start a new run with {gates}"
    )
