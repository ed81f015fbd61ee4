"""A run that is started from Python resumes like one of the command line."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning import Callback, Trainer, seed_everything

from srulight.encoders import SRU
from srulight.tasks.text_classification import Grammar, TextClassification, TextClassificationData
from srulight.training.resume import (
    AtomicCheckpointIO,
    LastCheckpoint,
    RandomState,
    ResumePosition,
)


class Kill(Callback):
    """Ends a run after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("killed")


def fit(folder: Path, resume: bool = False, kill_at: int = -1) -> dict[str, torch.Tensor]:
    seed_everything(3)
    resuming = [RandomState(), ResumePosition(), LastCheckpoint(every_n_steps=2)]
    trainer = Trainer(
        accelerator="cpu", default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, max_epochs=2,
        use_distributed_sampler=False, callbacks=[*resuming, Kill(kill_at)],
        plugins=[AtomicCheckpointIO()],
    )  # fmt: skip
    encoder = partial(SRU, hidden_size=8, num_layers=1, dropout=0.3)
    task = TextClassification(encoder=encoder, embedding_size=8, dropout=0.3)
    data = TextClassificationData(Grammar(train_size=61, val_size=8, test_size=8), batch_size=8)
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(task, data, ckpt_path=str(last) if resume else None, weights_only=True)
    return task.state_dict()


def test_a_killed_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        fit(tmp_path / "parts", kill_at=5)  # its last checkpoint is of step 4 of 8
    parts = fit(tmp_path / "parts", resume=True)
    assert all(torch.equal(weight, parts[name]) for name, weight in whole.items())
