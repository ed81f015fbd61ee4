"""Tokens are sampled with the expected frequencies."""

import math

import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.tasks.language_modeling.sampling import Sampler

SCORES = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()


def frequencies(**options: float) -> list[float]:
    sampler = Sampler(seed=1, **options)  # type: ignore[arg-type]
    drawn = torch.tensor([sampler(SCORES) for _ in range(4000)])
    return (drawn.bincount(minlength=4) / 4000).tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.1, 0.4, 0.2, 0.3]),
        ({"temperature": 0}, [0, 1, 0, 0]),
        # Squares of the probabilities, divided by their sum, 0.3.
        ({"temperature": 0.5}, [0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3]),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_k": 9}, [0.1, 0.4, 0.2, 0.3]),
        ({"top_p": 0.65}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_p": 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),
        ({"top_p": 0.01}, [0, 1, 0, 0]),
        ({"top_k": 3, "top_p": 0.7}, [0, 4 / 7, 0, 3 / 7]),  # 4/9 + 3/9 = 0.78
    ],
)
def test_frequencies(options: dict[str, float], expected: list[float]) -> None:
    assert frequencies(**options) == pytest.approx(expected, abs=0.025)


def test_a_seed_decides() -> None:
    draws = [[Sampler(seed=seed)(SCORES) for _ in range(1)] for seed in (1, 1)]
    assert draws[0] == draws[1]
    first, second = ([s(SCORES) for _ in range(50)] for s in (Sampler(seed=1), Sampler(seed=2)))
    assert first != second
    first, second = ([s(SCORES) for _ in range(50)] for s in (Sampler(), Sampler()))
    assert first != second


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature must be at least 0, got -1"),
        ({"top_k": -1}, "top_k must be at least 0"),
        ({"temperature": math.nan}, "temperature must be at least 0, got nan"),
        ({"seed": 1 << 64}, "seed must be 0 to "),
        ({"top_p": 0}, "top_p must be above 0 and at most 1, got 0"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1, got 1.1"),
    ],
)
def test_says_what_is_wrong(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampler(**options)  # type: ignore[arg-type]
