"""Batches contain examples of similar length, each once, in a reproducible order."""

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import Dataset

from srulight.data.resumable_loader import ResumableLoader
from srulight.data.samplers import BucketBatchSampler, LengthBatchSampler

LENGTHS = torch.randint(1, 40, (1003,), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_example_is_used_once_over_all_ranks(shuffle: bool, world_size: int) -> None:
    ranks = [
        list(BucketBatchSampler(LENGTHS, 16, shuffle, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert sorted(i for batches in ranks for batch in batches for i in batch) == list(range(1003))
    assert len({len(batches) for batches in ranks}) == 1
    assert {len(batch) for batches in ranks for batch in batches} <= {15, 16}


def test_length_is_the_number_of_batches() -> None:
    sampler = BucketBatchSampler(LENGTHS, 16, shuffle=True)
    assert len(sampler) == len(list(sampler)) == 63


def test_evaluation_goes_from_short_to_long() -> None:
    batches = BucketBatchSampler(torch.tensor([3, 1, 2, 1]), 2, shuffle=False)
    assert list(batches) == [[1, 3], [2, 0]]


def test_training_batches_hold_similar_lengths() -> None:
    batches = list(BucketBatchSampler(LENGTHS, 16, shuffle=True))
    padded = sum(len(batch) * int(LENGTHS[batch].max()) for batch in batches)
    assert padded < 1.1 * LENGTHS.sum()


def test_training_batches_do_not_come_in_the_order_of_length() -> None:
    lengths = LENGTHS[:160]
    longest = [int(lengths[b].max()) for b in BucketBatchSampler(lengths, 16, shuffle=True)]
    assert longest != sorted(longest)


def test_training_batches_group_other_examples_every_epoch() -> None:
    sampler = BucketBatchSampler(torch.arange(1, 1001), 4, shuffle=True)
    first = {frozenset(batch) for batch in sampler}
    sampler.set_epoch(1)
    assert len(first & {frozenset(batch) for batch in sampler}) < 25


def test_seed_and_epoch_alone_decide_the_order() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = BucketBatchSampler(LENGTHS, 16, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        torch.rand(3)
        return list(sampler)

    assert order(1, 5) == order(1, 5)
    assert order(1, 5) != order(1, 6)
    assert order(1, 5) != order(2, 5)


def test_ranks_have_similar_lengths_at_each_step() -> None:
    ranks = [
        BucketBatchSampler(LENGTHS, 16, shuffle=True, rank=rank, world_size=2) for rank in (0, 1)
    ]
    gaps = [abs(LENGTHS[a].max() - LENGTHS[b].max()) for a, b in zip(*ranks, strict=True)]
    assert max(gaps) <= 3


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("examples", [1, 7, 100, 1003])
@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_ranks_together_step_through_what_one_rank_does(
    shuffle: bool, examples: int, world_size: int
) -> None:
    lengths = LENGTHS[:examples]
    ranks = [
        BucketBatchSampler(lengths, 4, shuffle, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    one = BucketBatchSampler(lengths, 4 * world_size, shuffle)
    for sampler in (*ranks, one):
        sampler.set_epoch(3)
    together = [[i for batch in step for i in batch] for step in zip(*ranks, strict=True)]
    assert together == list(one)


@pytest.mark.parametrize("shuffle", [True, False])
def test_of_more_ranks_than_examples_some_have_empty_batches(shuffle: bool) -> None:
    ranks = [
        list(BucketBatchSampler(torch.tensor([4, 2]), 8, shuffle, rank=r, world_size=3))
        for r in range(3)
    ]
    assert sorted(ranks) == [[[]], [[0]], [[1]]]


def test_no_examples_and_empty_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one element"):
        BucketBatchSampler(torch.tensor([]), 8, shuffle=True)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        BucketBatchSampler(LENGTHS, 0, shuffle=True)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_batches_of_one_length_use_every_example_once(shuffle: bool, world_size: int) -> None:
    for epoch in range(3):
        samplers = [
            LengthBatchSampler(LENGTHS, 200, shuffle, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        ranks = [list(sampler) for sampler in samplers]
        used = sorted(i for batches in ranks for batch in batches for i in batch)
        assert used == list(range(1003))
        # In every epoch and on every rank: ceil(total / 200 per rank).
        expected = -(-int(LENGTHS.sum()) // (200 * world_size))
        assert {len(batches) for batches in ranks} == {expected} == {len(samplers[0])}
        for step in zip(*ranks, strict=True):
            together = [i for batch in step for i in batch]
            assert 0 < LENGTHS[together].sum() <= 200 * world_size + LENGTHS.max()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("world_size", [2, 8])
def test_ranks_together_have_the_batches_of_one_rank(shuffle: bool, world_size: int) -> None:
    ranks = [
        LengthBatchSampler(LENGTHS[:50], 30, shuffle, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    one = LengthBatchSampler(LENGTHS[:50], 30 * world_size, shuffle)
    together = [sorted(i for b in step for i in b) for step in zip(*ranks, strict=True)]
    assert together == [sorted(batch) for batch in one]


def test_batches_of_one_length_worked_by_hand() -> None:
    # 14 steps in two batches of 7 by length: 1 + 1 + 2 ends at step 4, and + 3 at step 7.
    sampler = LengthBatchSampler(torch.tensor([3, 1, 7, 2, 1]), 7, shuffle=False)
    assert list(sampler) == [[1, 4, 3, 0], [2]]
    # One example is longer than a batch, so 8 steps are one batch instead of four of 2.
    assert list(LengthBatchSampler(torch.tensor([1, 6, 1]), 2, shuffle=False)) == [[0, 2, 1]]


def test_batches_of_one_length_hold_similar_lengths_in_an_order_of_their_own() -> None:
    sampler = LengthBatchSampler(LENGTHS, 200, shuffle=True, seed=3)
    first = list(sampler)
    padded = sum(len(batch) * int(LENGTHS[batch].max()) for batch in first)
    assert padded < 1.1 * LENGTHS.sum()
    assert list(sampler) == first
    longest = [int(LENGTHS[batch].max()) for batch in first]
    assert longest != sorted(longest)
    sampler.set_epoch(1)
    assert len(set(map(frozenset, first)) & set(map(frozenset, sampler))) < len(first) / 5


def test_examples_without_a_length_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths must be at least 1, got 0"):
        LengthBatchSampler(torch.tensor([2, 0]), 8, shuffle=True)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        LengthBatchSampler(LENGTHS, 0, shuffle=True)


class _Numbers(Dataset[Tensor]):
    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        return [torch.tensor(indices, dtype=torch.float)]


class _Recorder(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)
        self.seen: list[list[float]] = [[], []]

    def training_step(self, batch: Tensor) -> Tensor:
        self.seen[self.current_epoch] += batch.tolist()
        return self.net(batch[:, None]).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_a_trainer_changes_the_order_every_epoch() -> None:
    sampler = BucketBatchSampler(torch.ones(24), 4, shuffle=True)
    module = _Recorder()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, ResumableLoader(_Numbers(), sampler))
    for epoch in range(2):
        sampler.set_epoch(epoch)
        assert module.seen[epoch] == [float(i) for batch in sampler for i in batch]
    assert module.seen[0] != module.seen[1]
