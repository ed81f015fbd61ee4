"""Masks have the widths and positions of the paper, and stay within each utterance."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from srulight.tasks.speech_recognition.layers.spec_augment import SpecAugment, SpecAugmentSettings


def augmenter(*masks: int, **named: Any) -> SpecAugment:  # noqa: ANN401
    return SpecAugment(SpecAugmentSettings(*masks, **named))


def runs(covered: Tensor) -> list[tuple[int, int]]:
    """Returns the start and length of each run of True in (N,)."""
    found: list[tuple[int, int]] = []
    for place, is_covered in enumerate(covered.tolist()):
        if not is_covered:
            continue
        if found and sum(found[-1]) == place:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((place, 1))
    return found


def places(size: int, widest: int) -> dict[tuple[int, int] | None, float]:
    """Returns the probability of each start and width; None is a mask of width 0."""
    expected: dict[tuple[int, int] | None, float] = {None: 1 / (widest + 1)}
    for width in range(1, widest + 1):
        for start in range(size - width + 1):
            expected[start, width] = 1 / (widest + 1) / (size - width + 1)
    return expected


def compare(masks: Tensor, expected: dict[tuple[int, int] | None, float]) -> None:
    """Compares the frequencies of one mask per row of (N, places) with their probabilities."""
    found = [runs(row) for row in masks]
    assert all(len(run) <= 1 for run in found)
    counts = Counter(run[0] if run else None for run in found)
    assert counts.keys() == expected.keys()
    for place, p in expected.items():
        deviation = (p * (1 - p) / len(masks)) ** 0.5
        assert abs(counts[place] / len(masks) - p) <= 5 * deviation


def test_a_mask_over_time_has_every_width_and_place_within_the_utterance() -> None:
    augment = augmenter(0, 0, time_masks=1, time_width=3, time_share=0.5)
    lengths = torch.tensor([7, 5, 2, 1]).repeat_interleave(4000)
    masked = augment(torch.ones(16_000, 8, 2), lengths) == 0
    assert torch.equal(masked[:, :, 0], masked[:, :, 1])
    # The width limit is 3 frames; half of an utterance is 3, 2, 1 and 0 frames.
    for rows, size, widest in zip(
        masked[:, :, 0].split(4000), (7, 5, 2, 1), (3, 2, 1, 0), strict=True
    ):
        compare(rows, places(size, widest))


def test_a_mask_over_bands_has_every_width_and_place() -> None:
    for width, num_mels in ((2, 5), (9, 3)):
        augment = augmenter(1, width, time_masks=0)
        masked = augment(torch.ones(5000, 2, num_mels)) == 0
        assert torch.equal(masked[:, 0], masked[:, 1])
        compare(masked[:, 0], places(num_mels, min(width, num_mels)))


def test_masks_over_time_and_bands_cross_and_are_as_many_as_asked_for() -> None:
    masked = augmenter(2, 3, 3, 4)(torch.ones(300, 50, 20)) == 0
    over_time, over_bands = masked.all(2), masked.all(1)
    assert torch.equal(masked, over_time.unsqueeze(2) | over_bands.unsqueeze(1))
    assert max(len(runs(row)) for row in over_time) == 3
    assert max(len(runs(row)) for row in over_bands) == 2
    assert len(masked.flatten(1).unique(dim=0)) > 290  # masks differ between utterances


def test_padding_is_left_as_it_was_and_draws_nothing() -> None:
    augment = augmenter(time_width=5, time_share=1.0)
    lengths = torch.tensor([12, 7, 0])
    torch.manual_seed(1)
    short = augment(torch.ones(3, 12, 20), lengths)
    torch.manual_seed(1)
    longer = augment(torch.ones(3, 90, 20), lengths)
    assert torch.equal(longer[:, :12], short)
    assert short[1, :7].min() == 0
    for b, n in enumerate(lengths):
        assert bool((longer[b, n:] == 1).all())


def test_a_random_state_repeats_masks() -> None:
    augment, x = augmenter(), torch.ones(4, 100, 40)
    state = torch.get_rng_state()
    first = augment(x)
    assert not torch.equal(augment(x), first)
    torch.set_rng_state(state)
    assert torch.equal(augment(x), first)


def test_masked_values_become_0_in_whichever_type() -> None:
    x = torch.randn(4, 100, 6, dtype=torch.bfloat16)
    y = augmenter(2, 2)(x)
    assert y.dtype == torch.bfloat16
    assert (y != x).any()
    assert bool((y[y != x] == 0).all())


def test_a_run_in_half_precision_draws_the_same_masks() -> None:
    augment, x = augmenter(time_width=100), torch.ones(4, 1001, 80)
    torch.manual_seed(2)
    expected = augment(x)
    torch.manual_seed(2)
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert torch.equal(augment(x), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_nothing_happens_when_not_training_or_without_masks() -> None:
    x = torch.randn(2, 30, 8)
    assert augmenter().eval()(x) is x
    for none in (augmenter(0, 5, 0, 5), augmenter(2, 0, 2, 0), augmenter(0, time_share=0.0)):
        assert torch.equal(none(x), x)


@pytest.mark.parametrize("name", ["frequency_masks", "frequency_width", "time_masks", "time_width"])
def test_says_what_is_wrong(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
        SpecAugmentSettings(**{name: -1})
    with pytest.raises(ValueError, match=r"time_share must be 0 to 1, got 1\.2"):
        SpecAugmentSettings(time_share=1.2)
