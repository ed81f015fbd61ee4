"""The best parts of a text by the scores of their first and last words."""

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
    steps = scores.size(1)
    found = []
    begin = 0
    for windows in question_index.bincount().tolist():
        here = slice(begin, begin + windows)
        begin += windows
        own = scores[here].flatten()
        missing = torch.tensor(_NO) if none is None else 2 * none[here].float().min().cpu()
        total = torch.cat((own, missing.view(1))).logsumexp(0)
        spans = [] if none is None else [Span(-1, -1, float(missing) - float(total))]
        # A span can lie in as many windows as there are; all that equal the last are there, for a
        # later window may have the earlier span.
        least = own.topk(min(count * windows, len(own))).values[-1]
        places = ((own >= least) & (own > _NO)).nonzero().squeeze(1)
        starts = offsets[here].tolist()
        for value, place in zip(own[places].tolist(), places.tolist(), strict=True):
            window, inside = divmod(place, steps * max_words)
            first, more = divmod(inside, max_words)
            first += starts[window]
            spans.append(Span(first, first + more, value - float(total)))
        spans.sort(key=lambda span: (-span.log_probability, span.first, span.last))
        different: dict[tuple[int, int], Span] = {}
        for span in spans:
            different.setdefault(span[:2], span)
        found.append(list(different.values())[:count])
    return found
