"""The initial weights follow from the seed and not from the device of the training."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy

from srulight import SRU
from srulight.tasks.text_classification.corpora.grammar import Grammar
from srulight.tasks.text_classification.data import TextClassificationData
from srulight.tasks.text_classification.task import TextClassification


def test_weights_are_drawn_on_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Stands for a GPU, which draws other random numbers.
    monkeypatch.setattr(
        SingleDeviceStrategy, "tensor_init_context", lambda self, **_: torch.device("meta")
    )
    task = TextClassification(8, encoder=partial(SRU, hidden_size=8))
    trainer = Trainer(
        accelerator="cpu", max_steps=1, default_root_dir=tmp_path, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(task, TextClassificationData(Grammar(24, 8, 8), batch_size=8))
    assert {p.device.type for p in task.parameters()} == {"cpu"}
