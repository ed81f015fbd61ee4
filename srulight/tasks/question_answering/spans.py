"""The best parts of a text, by the scores of their first and last words."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_NO = float("-inf")


class Span(NamedTuple):
    """A part of a text.

    Attributes:
        first: Its first word; -1 if the text does not have what is looked for.
        last: Its last word; -1 as well.
        log_probability: Natural logarithm of its probability.
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
    """Finds the best spans of texts that were read in windows.

    A span's score is that of its first word plus that of its last. Its probability is among all
    spans in the windows of a text that are not too long, and the chance that there is none: that
    scores as twice the lowest ``none`` of its windows, for all have to agree. Of a span that lies
    in several windows, the better one counts.

    Args:
        start: Score of each word as the first, (W, T); minus infinity where padded.
        end: Score of each word as the last, (W, T), as ``start``.
        none: Score of a window not having what is looked for, (W,); None if each text has it.
        question_index: Text of each window, (W,) int64, 0 to B - 1, never falling, none left out.
        offsets: Where each window begins in its text, in words, (W,) int64.
        max_words: Most words of a span, at least 1.
        count: Spans of each text, at most.

    Returns:
        The best spans of each of the B texts, the best first; of equals the first, then the
        shortest.
    """
    # Where, in a window, a span may end that begins at each word: (W, T, max_words).
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
        scores: Of the spans that begin at each word of each window, (W, T, max_words).
        no_span: Score of there being none, (); minus infinity if there must be one.
        offsets: Where each window begins in the text.
        count: Spans, at most.
    """
    windows, steps, max_words = scores.shape
    scores = scores.flatten()
    total = float(torch.cat((scores, no_span.view(1))).logsumexp(0))
    spans = [Span(-1, -1, float(no_span) - total)] if no_span > _NO else []
    # A span can lie in as many windows as there are; all that equal the last are there, for a
    # later window may have the earlier span.
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
