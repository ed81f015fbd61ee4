"""Finds the best answer spans from the scores of their first and last words."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_NO = float("-inf")


class Span(NamedTuple):
    """A span of words in a text, or "no answer".

    Attributes:
        first: Index of the first word; -1 for no answer.
        last: Index of the last word; -1 for no answer.
        log_probability: Natural logarithm of the probability.
    """

    first: int
    last: int
    log_probability: float


def best_spans(
    start: Tensor,
    end: Tensor,
    none: Tensor | None,
    question_index: Tensor,
    offsets: Tensor,
    *,
    max_words: int,
    count: int,
) -> list[list[Span]]:
    """Finds the best answer spans of texts that were read in windows.

    The score of a span is the sum of the scores of its first and last word. "No answer" scores
    twice the lowest ``none`` of the windows of the text, because all windows must agree. The
    probabilities are a softmax over "no answer" and all spans of at most ``max_words`` words in the
    windows of a text. If a span lies in several windows, its best score counts.

    Args:
        start: Score of each word as the first, (W, T); minus infinity in padding.
        end: Score of each word as the last, (W, T); minus infinity in padding.
        none: Score of "no answer" for each window, (W,); None if every question has an answer.
        question_index: Index of the question of each window, (W,) int64, 0 to B - 1, in
            nondecreasing order and without gaps.
        offsets: Start of each window in its text, in words, (W,) int64.
        max_words: Maximum number of words in a span, at least 1.
        count: Maximum number of spans to return for each question.

    Returns:
        The spans of each of the B questions, by decreasing probability. Of equal spans, the one
        that starts first comes first, then the shorter one.
    """
    # Scores of the possible last words of spans that start at each word: (W, T, max_words).
    ends = F.pad(end.float(), (0, max_words - 1), value=_NO).unfold(1, max_words, 1)
    scores = (start.float().unsqueeze(-1) + ends).cpu()
    found = []
    begin = 0
    for windows in question_index.bincount().tolist():
        here = slice(begin, begin + windows)
        begin += windows
        no_span = torch.tensor(_NO) if none is None else 2 * none[here].float().min().cpu()
        found.append(_best(scores[here], no_span, offsets[here].tolist(), count))
    return found


def _best(scores: Tensor, no_span: Tensor, offsets: list[int], count: int) -> list[Span]:
    """Finds the best spans of one text.

    Args:
        scores: Scores of the spans that start at each word of each window, (W, T, max_words).
        no_span: Score of "no answer", (); minus infinity if there must be an answer.
        offsets: Start of each window in the text, in words.
        count: Maximum number of spans.
    """
    windows, steps, max_words = scores.shape
    scores = scores.flatten()
    total = float(torch.cat((scores, no_span.view(1))).logsumexp(0))
    spans = [Span(-1, -1, float(no_span) - total)] if no_span > _NO else []
    # A span can occur in every window, hence the factor. Keep all ties with the lowest score,
    # because an earlier span can come from a later window.
    least = scores.topk(min(count * windows, len(scores))).values[-1]
    places = ((scores >= least) & (scores > _NO)).nonzero().squeeze(1)
    for value, place in zip(scores[places].tolist(), places.tolist(), strict=True):
        window, inside = divmod(place, steps * max_words)
        first, more = divmod(inside, max_words)
        first += offsets[window]
        spans.append(Span(first, first + more, value - total))
    spans.sort(key=lambda span: (-span.log_probability, span.first, span.last))
    different: dict[tuple[int, int], Span] = {}
    for span in spans:
        different.setdefault(span[:2], span)
    return list(different.values())[:count]
