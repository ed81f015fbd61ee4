"""Watches for unstable training, and stops a run whose loss is no longer finite."""

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
from srulight.ops.extension import ChunkCounts, chunk_counts
from srulight.runtime.errors import InputError
from srulight.training.resume.last_checkpoint import LastCheckpoint
from srulight.training.resume.lightning_internals import last_saved, unscales_itself


class Stability(Callback):
    """Logs early signs of unstable training, and stops the run once the loss is not finite.

    It logs two metrics every ``log_every_n_steps`` optimizer steps, at no cost on the steps
    between:

    - ``train/gradient_norm``: the L2 norm of all gradients before clipping.
    - ``train/growing_states``: the fraction, from 0 to 1, of time steps and channels at which a
      change of a state causes a larger change of the next state, |dc_t / dc_(t-1)| > 1. It covers
      the layers whose gates see the state, and the first sequence of the batch.

    If kernels have divided sequences into chunks of time during such a step, it logs a third
    one:

    - ``train/repaired_steps``: the fraction of time steps and channels of these sequences that were
      processed a second time, or could not be processed in parallel, because a chunk depends on
      states from long before its start. A value of 0 means that all chunks were right at once, and
      0.5 that two chunks took as long as one after the other.

    If the model has such layers, a compiled task runs without compilation on the logged steps.

    A checkpoint whose weights are not all finite is not saved, so that the last good one remains.
    """

    def __init__(self) -> None:
        self._hooks: list[RemovableHandle] = []
        self._growing: list[Tensor] = []  # number of growing states in each layer
        self._states: list[Tensor] = []  # number of all states in each layer
        self._losses: list[tuple[int, Tensor]] = []  # since the last check, with their steps
        self._batches = 0  # since the last check
        self._logs = False  # whether the current step is logged
        self._before: ChunkCounts | None = None  # what was done in chunks before it

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        # Computed once per batch, because Lightning's global_step is slow.
        self._logs = _logs(trainer)
        if self._logs:
            self._before = self._before or chunk_counts()
            self._hooks = [
                module.register_forward_hook(self._measure, with_kwargs=True)
                for module in pl_module.modules()
                if isinstance(module, PeepholeLayer)
            ]
        if self._hooks:
            # Compiled code ignores hooks that are registered later.
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
        # Dropout must not draw random numbers here: logging must not change the run.
        training = [part for part in module.modules() if part.training]
        module.eval()
        state_jacobian = module.state_jacobian(x, state, lengths)
        for part in training:
            part.training = True
        if state_jacobian is None:
            return
        steps = state_jacobian.new_tensor([state_jacobian.size(1)]) if lengths is None else lengths
        # Padded steps have a derivative of exactly 1, which does not count as growing.
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
        # In all other cases, the precision plugin has already divided by the scale.
        if scaler is not None and unscales_itself(optimizer):
            norm = norm / scaler.get_scale()
        pl_module.log("train/gradient_norm", norm, on_step=True, on_epoch=False)
        if self._before is not None:
            done = chunk_counts().since(self._before)
            self._before = None
            if done.numbers:
                share = torch.tensor(done.repairs / done.numbers)
                pl_module.log("train/repaired_steps", share, on_step=True, on_epoch=False)
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
        # A check waits for the GPU, and for the other processes.
        waits = pl_module.device.type != "cpu" or trainer.world_size > 1
        if self._batches >= (_every(trainer) or 50 if waits else 1):
            self._check(trainer)

    # The next two hooks run before a checkpoint may be saved.
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._check(trainer)
        finite = all(bool(p.isfinite().all()) for p in pl_module.parameters())
        if not trainer.strategy.reduce_boolean_decision(finite):
            raise InputError(
                f"training stopped, because some weights are not finite after step "
                f"{trainer.global_step}; they were not saved; {_advice(trainer)}"
            )

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._remove_hooks()
        self._forget()

    def _forget(self) -> None:
        self._before = None
        self._growing = []
        self._states = []

    def _remove_hooks(self) -> None:
        if self._hooks:
            torch.compiler.set_stance("default")
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _check(self, trainer: Trainer) -> None:
        """Raises InputError in all processes if a recent loss was not finite in any of them."""
        steps = [step for step, _ in self._losses]
        values = torch.stack([loss for _, loss in self._losses]).flatten().tolist() if steps else []
        self._losses = []
        self._batches = 0
        bad = [(s, v) for s, v in zip(steps, values, strict=True) if not math.isfinite(v)]
        if trainer.strategy.reduce_boolean_decision(bool(bad), all=False):
            # Processes with finite losses know neither the value nor the exact step.
            what = (
                f"the loss is {bad[0][1]} at step {bad[0][0]}"
                if bad
                else f"the loss of another process is not finite by step {trainer.global_step}"
            )
            raise InputError(f"training stopped, because {what}; {_advice(trainer)}")


def _logs(trainer: Trainer) -> bool:
    """Returns whether the current step is logged."""
    every = _every(trainer)
    return every > 0 and (trainer.global_step + 1) % every == 0


def _every(trainer: Trainer) -> int:
    return trainer.log_every_n_steps  # type: ignore[attr-defined]


def _first(
    x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the arguments of a layer for the first sequence of the batch only."""
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
            # The other two name a file even if writing it has failed.
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
    remedies = "lower the learning rate or clip gradients (--trainer.gradient_clip_val=1)"
    gates = "a lower bias of the reset gates (--model.encoder.highway_bias=-2)"
    if saved is None:
        return f"no checkpoint was saved yet; {remedies}, or try {gates}"
    here = Path.cwd()
    path = saved.relative_to(here) if saved.is_relative_to(here) else saved
    # Only a new run initializes the gates.
    return (
        f"{remedies} and resume from the last good checkpoint with --ckpt_path={path}, or start a "
        f"new run with {gates}"
    )
