"""Greedy decoding is argmax without repeats and blanks, for frames in chunks of any size."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.ctc.greedy import Greedy


def one_hot(*indices: int, size: int = 3) -> Tensor:
    hot = torch.tensor(indices, dtype=torch.int64).reshape(-1)
    return torch.nn.functional.one_hot(hot, size).float().log_softmax(-1)


def test_repeats_are_one_token_unless_a_blank_parts_them() -> None:
    decoder = Greedy()
    decoder.advance(one_hot(0, 1, 1, 0, 1, 2, 2, 1, 0))
    assert decoder.tokens() == [(1, 1, 3), (1, 4, 5), (2, 5, 7), (1, 7, 8)]


@pytest.mark.parametrize("cut", range(9))
def test_two_pieces_are_as_one(cut: int) -> None:
    frames = one_hot(1, 1, 0, 2, 2, 2, 1, 0)
    decoder = Greedy()
    for start, end in pairwise([0, cut, 8]):
        decoder.advance(frames[start:end])
    assert decoder.tokens() == [(1, 0, 2), (2, 3, 6), (1, 6, 7)]


def test_a_run_may_go_on_through_many_pieces() -> None:
    decoder = Greedy()
    for _ in range(3):
        decoder.advance(one_hot(2, 2))
    assert decoder.finish() == [(2, 0, 6)]


def test_of_equals_the_first_is_taken() -> None:
    decoder = Greedy()
    decoder.advance(torch.tensor([[-2.0, -1.0, -1.0], [-1.0, -1.0, -1.0]]))
    assert decoder.tokens() == [(1, 0, 1)]


def test_all_tokens_are_num_stable() -> None:
    decoder = Greedy()
    assert decoder.num_stable() == 0
    decoder.advance(one_hot(1, 2, 2))
    assert decoder.num_stable() == 2


def test_no_tokens_without_frames() -> None:
    decoder = Greedy()
    decoder.advance(one_hot())
    assert decoder.tokens() == decoder.finish() == []


def test_an_answer_stays_as_it_was_given() -> None:
    decoder = Greedy()
    decoder.advance(one_hot(1))
    answer = decoder.tokens()
    decoder.advance(one_hot(1, 2))
    assert answer == [(1, 0, 1)]


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        (torch.zeros(1, 2, 3), r"shape \(T, V\).*got torch.float32 of shape \(1, 2, 3\)"),
        (torch.zeros(2, 0), r"V at least 1, got .* of shape \(2, 0\)"),
        (torch.zeros(2, 3, dtype=torch.int64), "got torch.int64"),
        (torch.tensor([[0.0, 0.0], [0.0, torch.nan]]), "got nan in frame 1 of 2"),
        (torch.full((1, 2), -torch.inf), "got -inf in frame 0 of 1"),
    ],
)
def test_what_are_no_log_probabilities_is_refused(frames: Tensor, why: str) -> None:
    with pytest.raises(InputError, match=why):
        Greedy().advance(frames)
