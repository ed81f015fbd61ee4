"""Lengths are described before training, and repeated examples are counted."""

import pytest
import torch

from srulight.data.summary import describe_lengths, leakage


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ([3], "median 3 words, 95% at most 3, longest 3"),
        ([1, 1, 5], "median 1 word, 95% at most 5, longest 5"),
        (list(range(1, 101)), "median 50 words, 95% at most 95, longest 100"),
        ([*range(2, 2021), 12345], "median 1,011 words, 95% at most 1,920, longest 12,345"),
    ],
)
def test_lengths(lengths: list[int], said: str) -> None:
    assert describe_lengths(lengths[::-1], "word") == said
    assert describe_lengths(torch.tensor(lengths), "word") == said


def test_examples_that_training_has_are_counted() -> None:
    parts = {"train": ["a", "b", "b"], "val": ["b", "b", "c"], "test": ["d", "a"]}
    assert leakage(parts, "rows") == (
        "2 of 3 val rows and 1 of 2 test rows are also in the training data, so the scores will be "
        "too good; remove them from one of the two"
    )
    assert leakage({**parts, "val": ["c"], "test": []}, "rows") is None
