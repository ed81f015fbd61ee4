"""The best spans equal those of an exhaustive search."""

import math
import random

import pytest
import torch
from torch import Tensor

from srulight.tasks.question_answering.spans import Span, best_spans

NO = -math.inf


def brute_force(
    start: Tensor, end: Tensor, none: Tensor | None, question_index: Tensor, offsets: Tensor,
    max_words: int, count: int,
) -> list[list[Span]]:  # fmt: skip
    answers = []
    for question in range(int(question_index.max()) + 1):
        windows = [w for w in range(len(question_index)) if question_index[w] == question]
        scored = []
        for w in windows:
            for i in range(start.size(1)):
                for j in range(i, min(i + max_words, start.size(1))):
                    score = float(start[w, i] + end[w, j])
                    if score > NO:
                        scored.append((-score, i + int(offsets[w]), j + int(offsets[w])))
        if none is not None:
            scored.append((-2 * min(float(none[w]) for w in windows), -1, -1))
        total = math.log(sum(math.exp(-minus) for minus, *_ in scored))
        best: list[Span] = []
        for minus, first, last in sorted(scored):
            if all((first, last) != (span.first, span.last) for span in best):
                best.append(Span(first, last, -minus - total))
        answers.append(best[:count])
    return answers


@pytest.mark.parametrize("seed", range(60))
def test_finds_what_looking_at_every_span_finds(seed: int) -> None:
    draw = random.Random(seed)
    question_index = [q for q in range(draw.randint(1, 3)) for _ in range(draw.randint(1, 3))]
    steps = draw.randint(1, 6)
    lengths = [draw.randint(1, steps) for _ in question_index]
    # Small integers give many ties and exact sums.
    start, end = (
        torch.tensor(
            [[draw.randint(-2, 2) if t < n else NO for t in range(steps)] for n in lengths]
        )
        for _ in range(2)
    )
    none = torch.tensor([float(draw.randint(-1, 2)) for _ in question_index]) if seed % 2 else None
    offsets = torch.tensor([draw.randint(0, 4) for _ in question_index])
    max_words, count = draw.randint(1, 7), draw.choice([1, 2, 5, 1000])
    given = (start, end, none, torch.tensor(question_index), offsets)
    found = best_spans(*given, max_words=max_words, count=count)
    expected = brute_force(*given, max_words, count)
    assert [[span[:2] for span in spans] for spans in found] == [
        [span[:2] for span in spans] for spans in expected
    ]
    for spans, others in zip(found, expected, strict=True):
        assert [s.log_probability for s in spans] == pytest.approx(
            [s.log_probability for s in others], abs=1e-5
        )


@pytest.mark.parametrize("none", [None, torch.tensor([0.3, 2.0, -1.0])])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_probabilities_of_all_answers_sum_to_one(dtype: torch.dtype, none: Tensor | None) -> None:
    start, end = torch.randn(2, 3, 7, dtype=dtype)
    start[1, 4:] = end[1, 4:] = NO
    question_index, offsets = torch.tensor([0, 0, 1]), torch.tensor([0, 7, 0])
    answers = best_spans(start, end, none, question_index, offsets, max_words=3, count=1000)
    extra = int(none is not None)
    # 7 words have 7 + 6 + 5 spans, 4 words 4 + 3 + 2.
    assert [len(spans) for spans in answers] == [27 + extra, 18 + extra]
    for spans in answers:
        assert sum(math.exp(span.log_probability) for span in spans) == pytest.approx(1, abs=1e-5)


def test_no_answer_needs_all_windows_to_agree() -> None:
    start = end = torch.log(torch.tensor([[2.0], [1.0]]))
    question_index, offsets = torch.tensor([0, 0]), torch.tensor([0, 1])
    none = torch.log(torch.tensor([5.0, 3.0]))
    (spans,) = best_spans(start, end, none, question_index, offsets, max_words=1, count=3)
    # Of 3 * 3 + 2 * 2 + 1 * 1.
    assert [span[:2] for span in spans] == [(-1, -1), (0, 0), (1, 1)]
    probabilities = [math.exp(span.log_probability) for span in spans]
    assert probabilities == pytest.approx([9 / 14, 4 / 14, 1 / 14])


def test_the_same_words_of_two_windows_are_given_once_with_the_better_probability() -> None:
    start = torch.log(torch.tensor([[1.0, 3.0], [4.0, 1.0]]))
    end = torch.zeros(2, 2)
    question_index, offsets = torch.tensor([0, 0]), torch.tensor([5, 6])
    (spans,) = best_spans(start, end, None, question_index, offsets, max_words=1, count=9)
    # Word 6 is in both windows; the spans of all windows sum to 1 + 3 + 4 + 1.
    assert [span[:2] for span in spans] == [(6, 6), (5, 5), (7, 7)]
    probabilities = [math.exp(span.log_probability) for span in spans]
    assert probabilities == pytest.approx([4 / 9, 1 / 9, 1 / 9])


def test_half_precision_is_summed_in_single() -> None:
    # In bfloat16, 8 + 1/64 is 8: the scores would tie, and the earlier span would win.
    start = torch.tensor([[8.0, 8.0]], dtype=torch.bfloat16)
    end = torch.tensor([[0.0, 1 / 64]], dtype=torch.bfloat16)
    only = torch.tensor([0])
    ((span,),) = best_spans(start, end, None, only, only, max_words=1, count=1)
    assert span.first == 1


def test_of_equals_the_earlier_then_the_shorter_comes_first() -> None:
    scores, question_index, offsets = torch.zeros(1, 2), torch.tensor([0]), torch.tensor([3])
    (spans,) = best_spans(
        scores, scores, torch.zeros(1), question_index, offsets, max_words=2, count=9
    )
    assert [span[:2] for span in spans] == [(-1, -1), (3, 3), (3, 4), (4, 4)]


def test_no_windows_have_no_answers() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    scores, none = torch.zeros(0, 4), torch.zeros(0)
    assert best_spans(scores, scores, none, nothing, nothing, max_words=2, count=1) == []
