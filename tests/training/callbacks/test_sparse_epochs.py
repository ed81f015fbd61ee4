"""Sparse epochs come first, and the share that they keep is that of all layers and processes."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srulight.encoders import SRU
from srulight.ops import SparseProducts, SparseSettings
from srulight.runtime.errors import InputError
from srulight.training.callbacks import SparseEpochs


class Task(nn.Module):
    """Keeps what callbacks log."""

    device = torch.device("cpu")

    def __init__(self, settings: SparseSettings) -> None:
        super().__init__()
        self.encoder = SRU(3, 4, 2, sparse_backward=settings)
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: Tensor) -> None:
        self.logged[name] = float(value)


def trainer(epoch: int = 0, others: Tensor | None = None, rank: int = 0, size: int = 1) -> Any:  # noqa: ANN401
    """Returns a trainer whose other processes have counted ``others``."""

    def reduce(own: Tensor, reduce_op: str) -> Tensor:
        assert reduce_op == "sum"
        return own if others is None else own + others

    return SimpleNamespace(
        current_epoch=epoch,
        strategy=SimpleNamespace(reduce=reduce),
        global_rank=rank,
        world_size=size,
    )


def products(task: Task) -> list[SparseProducts]:
    return [part for part in task.modules() if isinstance(part, SparseProducts)]


def count(task: Task, *counts: tuple[int, int]) -> None:
    for part, (kept, total) in zip(products(task), counts, strict=True):
        part.kept, part.total = part.kept + kept, part.total + total


def test_sparse_epochs_come_first() -> None:
    task, callback = Task(SparseSettings(share=0.5)), SparseEpochs(epochs=2)
    callback.on_fit_start(trainer(), task)  # type: ignore[arg-type]
    seen = []
    for epoch in range(4):
        hook = callback.on_train_start if epoch == 1 else callback.on_train_epoch_start
        hook(trainer(epoch), task)  # type: ignore[arg-type]
        seen.append([part.active for part in products(task)])
    assert seen == [[True, True], [True, True], [False, False], [False, False]]
    SparseEpochs().on_fit_start(trainer(), task)  # type: ignore[arg-type]


def test_the_share_of_all_layers_and_processes() -> None:
    task, callback = Task(SparseSettings(share=0.5)), SparseEpochs(by_layer=True)
    count(task, (5, 5), (5, 5))  # from an earlier run
    callback.on_fit_start(trainer(), task)  # type: ignore[arg-type]
    callback.on_train_epoch_start(trainer(), task)  # type: ignore[arg-type]
    count(task, (1, 2), (3, 8))
    others = torch.tensor([[1.0, 2.0], [1.0, 4.0]])
    callback.on_train_epoch_end(trainer(0, others), task)  # type: ignore[arg-type]
    shares = {"": 6 / 16, "_0": 2 / 4, "_1": 4 / 12}
    assert task.logged == pytest.approx({f"train/kept_share{k}": v for k, v in shares.items()})
    callback.on_train_epoch_start(trainer(1), task)  # type: ignore[arg-type]
    callback.on_train_epoch_end(trainer(1), task)  # type: ignore[arg-type]
    assert set(task.logged.values()) == {1.0}  # a dense epoch


@pytest.mark.parametrize("size", [1, 2])
def test_counts_of_an_interrupted_epoch_are_kept(size: int) -> None:
    task, callback = Task(SparseSettings(share=0.5)), SparseEpochs()
    callback.on_fit_start(trainer(), task)  # type: ignore[arg-type]
    count(task, (1, 2), (3, 8))
    assert callback.state_dict() == {"counts": [[[1, 2], [3, 8]]]}
    state = {"counts": [[[1, 2], [3, 8]], [[2, 2], [2, 2]]]}  # of two processes
    resumed = SparseEpochs()
    resumed.load_state_dict(state)
    resumed.on_fit_start(trainer(), task)  # type: ignore[arg-type]
    resumed.on_train_start(trainer(rank=size - 1, size=size), task)  # type: ignore[arg-type]
    expected = [[3, 4], [5, 10]] if size == 1 else [[2, 2], [2, 2]]
    assert [[part.kept, part.total] for part in products(task)] == expected
    with pytest.raises(InputError, match="the state of SparseEpochs"):
        resumed.load_state_dict({"counts": [["many"]]})


def test_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match="epochs must be at least 0, got -1"):
        SparseEpochs(-1)
    with pytest.raises(InputError, match="expected an encoder with sparse backward products"):
        SparseEpochs().on_fit_start(trainer(), Task(SparseSettings()))  # type: ignore[arg-type]
