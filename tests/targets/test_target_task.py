"""Tasks with a target of each kind, in a trainer."""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningDataModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from srulight.data.base import IGNORED
from srulight.data.sequences import SequenceBatch
from srulight.runtime.errors import InputError
from srulight.targets import Kind, LossSettings
from srulight.targets.build import KINDS
from srulight.tasks.target_task import TargetTask

NAMES = ["a", "b", "c"]
METADATA: dict[str, dict[str, Any]] = {
    "class": {"counts": [1, 1, 1]},
    "labels": {"counts": [1, 1, 1], "totals": [2, 2, 2]},
    "numbers": {"mean": [0.0] * 3, "std": [1.0] * 3},
}


class Toy(TargetTask):
    """Predicts from three features."""

    def __init__(self, monitor: str | None = None) -> None:
        super().__init__()
        self.loss_settings = LossSettings()
        self.chosen_monitor = monitor

    def build_network(self, metadata: dict[str, Any]) -> None:
        self.head = nn.Linear(3, self.build_target(metadata).output_size)

    def outputs(self, batch: SequenceBatch, stage: str) -> Tensor:
        return self.head(batch.inputs)

    def predict(self, inputs: Any, batch_size: int = 64) -> list[Any]:  # noqa: ANN401
        raise NotImplementedError


class ToyData(LightningDataModule):
    """The same four targets for training and validation."""

    def __init__(self, kind: Kind, targets: Tensor) -> None:
        super().__init__()
        self.target_kind = kind
        self.metadata = {"target": {"kind": kind, "names": NAMES, "columns": [], **METADATA[kind]}}
        self.batch = SequenceBatch(torch.randn(4, 3), torch.ones(4, dtype=torch.int64), targets)

    def loader(self) -> DataLoader[Any]:
        batches: Any = [self.batch] * 2
        return DataLoader(batches, batch_size=None)

    train_dataloader = val_dataloader = test_dataloader = loader


def trainer(**settings: Any) -> Trainer:  # noqa: ANN401
    return Trainer(
        **{
            "accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_checkpointing": False,
            "enable_progress_bar": False, "enable_model_summary": False, **settings,
        }
    )  # fmt: skip


def targets(kind: str) -> Iterator[Tensor]:
    """Targets of a batch that leave measures undefined: none, and always the same."""
    if kind == "class":
        yield from (torch.full((4,), IGNORED), torch.full((4,), 1))
    else:
        yield from (torch.full((4, 3), math.nan), torch.ones(4, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_validation_with_undefined_measures_passes(kind: Kind) -> None:
    # Warnings are errors in tests.
    for given in targets(kind):
        task, data = Toy(), ToyData(kind, given)
        # This includes the check of the validation before training.
        training = trainer(num_sanity_val_steps=1, limit_val_batches=1)
        training.fit(task, datamodule=data)
        values = training.callback_metrics
        assert values.keys() == {"train/loss", *(f"val/{name}" for name in task.target.scores)}
        assert task.report is not None
        known = 0 if given.isnan().any() or (given == IGNORED).any() else 4
        supports = [row[-1] for row in task.report.rows]
        assert supports == ([0, known, 0] if kind == "class" else [known] * 3)
        trainer().test(task, datamodule=data, verbose=False)
        assert task.report.rows[0][0] == "a"
        assert all(weight.isfinite().all() for weight in task.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_every_score_of_a_kind_can_be_monitored(kind: Kind) -> None:
    data: Any = SimpleNamespace(target_kind=kind)
    scores = KINDS[kind].scores
    assert Toy().monitored(data) == next(
        (f"val/{name}", direction) for name, direction in scores.items()
    )
    for name, direction in scores.items():
        assert Toy(f"val/{name}").monitored(data) == (f"val/{name}", direction)
    others = {name for other in KINDS.values() for name in other.scores} - scores.keys()
    for name in others:
        with pytest.raises(InputError, match=f"must be one of val/{next(iter(scores))}, .*{name}"):
            Toy(f"val/{name}").monitored(data)
