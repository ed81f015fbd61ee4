"""Batches of whole sequences and of segments have every step once."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from srulight.data.base import IGNORED
from srulight.data.segments import SegmentDataset, SegmentSampler
from srulight.tasks.sequence_prediction.dataset import StepsDataset

LENGTHS = torch.tensor([3, 5, 1])


def steps(targets: Tensor, per_step: bool = True, lengths: Tensor = LENGTHS) -> StepsDataset:
    """Makes sequences whose step i, counted over all of them, has the feature i + 1."""
    rows = torch.arange(1, int(lengths.sum()) + 1)
    return StepsDataset(
        rows[:, None].float(), (10 * rows)[:, None].int(), targets, lengths, per_step
    )


def test_whole_sequences_are_padded() -> None:
    data = steps(torch.arange(9, dtype=torch.int32))
    (batch,) = data.__getitems__([2, 0])
    assert batch.inputs.tolist() == [[[9], [0], [0]], [[1], [2], [3]]]
    assert batch.codes.tolist() == [[[90], [0], [0]], [[10], [20], [30]]]
    assert batch.targets.tolist() == [[8, IGNORED, IGNORED], [0, 1, 2]]
    assert batch.lengths.tolist() == [1, 3]
    assert (batch.is_first, batch.is_segment) == (True, False)
    assert (batch.size, batch.unit) == (6, "steps")
    assert batch.inputs.dtype == torch.float32
    assert batch.codes.dtype == batch.targets.dtype == batch.lengths.dtype == torch.int64


def test_missing_labels_and_numbers_are_nan() -> None:
    (batch,) = steps(torch.ones(9, 2)).__getitems__([0, 2])
    expected = torch.ones(2, 3, 2)
    expected[1, 1:] = math.nan
    torch.testing.assert_close(batch.targets, expected, equal_nan=True)


@pytest.mark.parametrize("targets", [torch.tensor([4, 5, 6]), torch.rand(3, 2)])
def test_a_sequence_has_one_target(targets: Tensor) -> None:
    (batch,) = steps(targets, per_step=False).__getitems__([2, 1])
    assert torch.equal(batch.targets, targets[[2, 1]])
    assert batch.inputs.shape == (2, 5, 1)


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_process_without_sequences_gets_a_step_without_a_target(
    per_step: bool, shape: tuple[int, ...]
) -> None:
    targets = torch.zeros(9 if per_step else 3, *shape).to(torch.float32 if shape else torch.int32)
    data = steps(targets, per_step)
    found = [data.batch([])]
    found += [data.batch([], first, 4) for first in (0, 4, 400)] if per_step else []
    for batch in found:
        assert batch.lengths.tolist() == [1]
        assert batch.inputs.shape == (1, 1, 1)
        assert batch.targets.shape == ((1, 1, *shape) if per_step else (1, *shape))
        assert bool((batch.targets.isnan() | (batch.targets == IGNORED)).all())
    assert [batch.is_first for batch in found] == [True, True, False, False][: len(found)]
    assert [batch.is_segment for batch in found] == [False, True, True, True][: len(found)]


def test_segments_by_hand() -> None:
    data = SegmentDataset(steps(torch.arange(9, dtype=torch.int32)), 2)
    batches = [data.__getitems__([segment, 0, 1])[0] for segment in range(3)]
    assert [batch.inputs.squeeze(-1).tolist() for batch in batches] == [
        [[1, 2], [4, 5]], [[3, 0], [6, 7]], [[0], [8]],
    ]  # fmt: skip
    assert [batch.targets.tolist() for batch in batches] == [
        [[0, 1], [3, 4]], [[2, IGNORED], [5, 6]], [[IGNORED], [7]],
    ]  # fmt: skip
    assert [batch.lengths.tolist() for batch in batches] == [[2, 2], [1, 2], [0, 1]]
    assert [batch.is_first for batch in batches] == [True, False, False]
    assert all(batch.is_segment for batch in batches)


def test_a_process_whose_sequences_have_all_ended_gets_padding() -> None:
    batch = steps(torch.arange(9, dtype=torch.int32)).batch([0, 2], 4, 2)
    assert batch.inputs.tolist() == [[[0]], [[0]]]
    assert batch.targets.tolist() == [[IGNORED], [IGNORED]]
    assert batch.lengths.tolist() == [0, 0]


CASES = [
    (count, size, world_size)
    for count in (1, 2, 7, 40)
    for size in (1, 3, 8)
    for world_size in (1, 2, 3, 5)
]


@pytest.mark.parametrize(("count", "size", "world_size"), CASES)
def test_every_step_is_read_once_over_all_ranks(count: int, size: int, world_size: int) -> None:
    lengths = torch.randint(1, 30, (count,), generator=torch.Generator().manual_seed(count))
    data = steps(torch.zeros(int(lengths.sum()), dtype=torch.int32), lengths=lengths)
    segments = SegmentDataset(data, 4)
    read: Counter[int] = Counter()
    shapes = []
    for rank in range(world_size):
        sampler = SegmentSampler(lengths, size, 4, True, rank=rank, world_size=world_size)
        batches = [segments.__getitems__(indices)[0] for indices in sampler]
        shapes.append([batch.is_first for batch in batches])
        assert len(batches) == len(sampler)
        for batch in batches:
            assert len(batch.lengths) <= size
            assert batch.inputs.size(1) >= 1
            read.update(batch.inputs[batch.targets != IGNORED].flatten().int().tolist())
    assert read == Counter(range(1, int(lengths.sum()) + 1))
    # All ranks begin new groups together, and have the same number of batches.
    assert all(shape == shapes[0] for shape in shapes)


def segment_batches(lengths: Tensor, epoch: int = 0, **options: int) -> list[list[int]]:
    sampler = SegmentSampler(lengths, 3, 4, shuffle=True, **options)
    sampler.set_epoch(epoch)
    assert len(list(sampler)) == len(sampler)
    return list(sampler)


def test_ranks_together_read_what_one_with_larger_groups_reads() -> None:
    lengths = torch.randint(1, 30, (23,), generator=torch.Generator().manual_seed(0))
    one = list(SegmentSampler(lengths, 6, 4, shuffle=True))
    two = [segment_batches(lengths, rank=rank, world_size=2) for rank in (0, 1)]
    for whole, *parts in zip(one, *two, strict=True):
        assert {part[0] for part in parts} == {whole[0]}
        assert sorted(whole[1:]) == sorted(parts[0][1:] + parts[1][1:])


def test_the_segments_of_a_group_follow_each_other() -> None:
    lengths = torch.tensor([9, 30, 10, 31, 11, 29])
    batches = segment_batches(lengths)
    for before, after in pairwise(batches):
        if after[0]:
            assert after == [before[0] + 1, *before[1:]]
    # Sequences of similar length are in one group: up to 11 steps are 3 segments, up to 31 are 8.
    assert sorted(Counter(tuple(sorted(batch[1:])) for batch in batches).items()) == [
        ((0, 2, 4), 3), ((1, 3, 5), 8),
    ]  # fmt: skip


def test_epochs_have_the_same_groups_in_another_order() -> None:
    lengths = torch.randint(1, 30, (60,), generator=torch.Generator().manual_seed(0))
    epochs = [segment_batches(lengths, epoch) for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert segment_batches(lengths, 1) == epochs[1]
    assert segment_batches(lengths, 1, seed=2) != epochs[1]


def test_evaluation_goes_from_short_to_long() -> None:
    sampler = SegmentSampler(torch.tensor([7, 2, 3]), 2, 4, shuffle=False)
    assert list(sampler) == [[0, 1], [0, 2, 0], [1, 2, 0]]
