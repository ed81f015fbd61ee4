"""Generated signals: their targets follow from their pulses, and need a memory."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from srulight.encoders import CNN, SRU, EncoderFactory
from srulight.runtime.errors import InputError
from srulight.targets import Kind
from srulight.tasks.sequence_prediction import (
    Part,
    SequencePrediction,
    SequencePredictionData,
    SyntheticSignals,
)
from srulight.tasks.sequence_prediction.corpora.base import Per


def part(**options: Any) -> Part:  # noqa: ANN401
    sizes = {"train_size": 50, "val_size": 1, "test_size": 1}
    return SyntheticSignals(**(sizes | options)).read(Path()).train


def pulses(numbers: np.ndarray[Any, Any]) -> list[tuple[int, int, float]]:
    """Finds the pulses of a sequence: step, channel and height. The noise is far below 0.7."""
    steps, channels = np.nonzero(np.abs(np.nan_to_num(numbers)) > 0.7)
    return [
        (step, channel, float(numbers[step, channel]))
        for step, channel in zip(steps.tolist(), channels.tolist(), strict=True)
    ]


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_targets_follow_from_the_last_pulses(missing: float) -> None:
    read = {kind: part(kind=kind, missing=missing) for kind in get_args(Kind)}
    classes, labels, heights = (read[kind] for kind in ("class", "labels", "numbers"))
    np.testing.assert_array_equal(classes.numbers, heights.numbers)
    assert np.isnan(classes.numbers).mean() == pytest.approx(missing * 0.96, abs=0.02)
    ends = np.cumsum(classes.lengths).tolist()
    for end, length in zip(ends, classes.lengths.tolist(), strict=True):
        start = end - length
        found = pulses(classes.numbers[start:end])
        assert [step for step, _, _ in found[:3]] == [0, 1, 2]
        assert {channel for _, channel, _ in found[:3]} == {0, 1, 2}
        assert len({step for step, _, _ in found}) == len(found)  # one at a time
        for step in range(length):
            before = {c: h for s, c, h in found if s <= step}
            last = [c for s, c, _ in found if s <= step][-1]
            assert classes.targets[start + step] == last
            for channel in range(3):
                height, label = (
                    heights.targets[start + step, channel],
                    labels.targets[start + step, channel],
                )
                if channel in before:
                    assert height == pytest.approx(before[channel], abs=0.6)
                    assert label == (before[channel] > 0)
                else:
                    assert np.isnan(height)
                    assert np.isnan(label)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_target_of_a_sequence_is_that_of_its_last_step(kind: Kind) -> None:
    steps, sequences = (part(kind=kind, per=per) for per in get_args(Per)[::-1])
    ends = np.cumsum(steps.lengths)
    np.testing.assert_array_equal(sequences.targets, steps.targets[ends - 1])
    assert not np.isnan(sequences.targets.astype(float)).any()


def test_sizes_seeds_and_rates() -> None:
    sequences = SyntheticSignals(train_size=300, val_size=7, test_size=5).read(Path())
    assert [len(p.names) for p in sequences.parts.values()] == [300, 7, 5]
    train = sequences.train
    assert (train.lengths.min(), train.lengths.max()) == (50, 100)
    # One pulse per 25 steps in each channel, besides the three first ones.
    count = (np.abs(train.numbers) > 0.7).sum()
    rows = len(train.numbers)
    assert count == pytest.approx(3 * 300 + (rows - 900) * 3 / 25, rel=0.05)
    again = SyntheticSignals(train_size=300, val_size=7, test_size=5).read(Path())
    np.testing.assert_array_equal(train.numbers, again.train.numbers)
    other = SyntheticSignals(train_size=300, val_size=7, test_size=5, seed=1).read(Path())
    assert train.numbers.shape != other.train.numbers.shape
    assert (other.train.lengths[:50] != train.lengths[:50]).any()


@pytest.mark.parametrize("steps", [2, 3, 5])
def test_short_sequences(steps: int) -> None:
    short = part(steps=steps, kind="labels")
    assert short.lengths.min() == steps // 2
    assert not np.isnan(short.targets[0]).all()


def test_options_out_of_range() -> None:
    for options, message in (
        ({"interval": 2}, "interval must be at least 3, got 2"),
        ({"missing": 1.0}, "missing must be 0 to 0.99, got 1.0"),
        ({"steps": 1}, "steps must be at least 2, got 1"),
    ):
        with pytest.raises(InputError, match=message):
            SyntheticSignals(**options)


def score(kind: Kind, per: Per, encoder: EncoderFactory) -> float:
    """Trains for one or two seconds; returns validation accuracy, or R2 for numbers."""
    corpus = SyntheticSignals(kind, per, 256, 64, 1, steps=16, interval=6)
    data = SequencePredictionData(corpus, batch_size=64)
    data.setup()
    task = SequencePrediction(encoder=encoder, dropout=0.0)
    task.build(data.metadata)
    optimizer = torch.optim.Adam(task.parameters(), lr=0.02)
    for _ in range(15):
        for batch in data.train_dataloader():
            total, count = task.loss(batch)
            optimizer.zero_grad()
            (total / count).backward()
            clip_grad_norm_(task.parameters(), 5.0)
            optimizer.step()
    task.eval()
    (batch,) = data.val_dataloader()
    with torch.no_grad():
        outputs = task.outputs(batch, "val")
    if kind == "class":
        known = batch.targets >= 0
        return float((outputs.argmax(-1) == batch.targets)[known].float().mean())
    known = ~batch.targets.isnan()
    outputs, targets = outputs[known], batch.targets[known]
    if kind == "labels":
        return float(((outputs > 0) == (targets > 0)).float().mean())
    return 1 - float((outputs - targets).square().mean() / targets.var())


def small_sru(size: int) -> SRU:
    return SRU(size, hidden_size=32, num_layers=2)


@pytest.mark.parametrize(
    ("kind", "per", "least"),
    [
        ("class", "step", 0.95),
        ("class", "sequence", 0.85),
        ("labels", "step", 0.95),
        ("labels", "sequence", 0.85),
        ("numbers", "step", 0.8),
        ("numbers", "sequence", 0.6),
    ],
)
def test_an_sru_learns_them(kind: Kind, per: Per, least: float) -> None:
    assert score(kind, per, small_sru) > least


@pytest.mark.parametrize(("kind", "most"), [("class", 0.8), ("labels", 0.75), ("numbers", 0.4)])
def test_a_model_without_memory_fails(kind: Kind, most: float) -> None:
    assert score(kind, "step", lambda size: CNN(size, channels=64, widths=(1,))) < most
