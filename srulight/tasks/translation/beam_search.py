"""Beam search for whole sequences that are written token by token.

Shapes: B sequences to write, each with K beginnings that compete, next to each other, which makes N
= K * B rows (K is 1 before the first step); V tokens, S source steps.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.runtime.errors import InputError, check_range

_NO = float("-inf")
_UNSEEN = 1e-9  # Least coverage, so that its logarithm is a number.


class Writer(ABC):
    """Sequences under way: says what may come next."""

    @abstractmethod
    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Reads one more token of every row.

        Args:
            tokens: Token ids, (N,) int64.

        Returns:
            Natural logarithm of the probability of each token to come, (N, V), and how much each
            row looked at each source step for it, (N, S), 0 where there is nothing to see.
        """

    @abstractmethod
    def reorder(self, rows: Tensor) -> None:
        """Goes on with other rows.

        Args:
            rows: Indices of rows, (N',) int64, those of a sequence next to each other; one may come
                several times.
        """

    @abstractmethod
    def keep(self, sequences: Tensor) -> None:
        """Goes on with some sequences only, and all rows of each.

        Args:
            sequences: Indices of sequences, (B',) int64, of those that are left.
        """


class Penalties(NamedTuple):
    """What a search ranks by, beside the probability.

    A sequence of T tokens, its end among them, has the score log(P) / ((5 + T) / 6) ** length +
    coverage * sum over source steps of log(min(what all tokens looked at it, 1)): Wu et al. (2016),
    arXiv 1609.08144, equation 14.

    Attributes:
        length: 0 or more.
        coverage: 0 or more.
    """

    length: float = 0.0
    coverage: float = 0.0


NO_PENALTIES = Penalties()


@dataclass(frozen=True)
class SearchSettings:
    """How translations are found.

    Args:
        beam_size: Translations that compete while a test sentence, or one to predict, is
            translated; 1 takes the likeliest token at each step. Validation always does that.
        length_penalty: Exponent of the length that log-probabilities are divided by; 0 for none (Wu
            et al. 2016, arXiv 1609.08144, equation 14, alpha).
        coverage_penalty: Weight of what is lost by source tokens that were looked at too little; 0
            for none (the same equation, beta).
        max_ratio: Most tokens of a translation for each token of the sentence, of its end, too, and
            of eight more.
        replace_unknown: Whether a token that stands for an unknown word becomes the source token
            that was looked at most.
    """

    beam_size: int = 5
    length_penalty: float = 0.6
    coverage_penalty: float = 0.0
    max_ratio: float = 2.0
    replace_unknown: bool = True

    def __post_init__(self) -> None:
        check_range(1, beam_size=self.beam_size)
        check_range(0, length_penalty=self.length_penalty, coverage_penalty=self.coverage_penalty)
        if not 0 < self.max_ratio < math.inf:
            raise InputError(f"max_ratio must be more than 0, got {self.max_ratio}")

    @property
    def penalties(self) -> Penalties:
        """What a search ranks by, beside the probability."""
        return Penalties(self.length_penalty, self.coverage_penalty)


class Hypothesis(NamedTuple):
    """A sequence that was found.

    Attributes:
        tokens: Its tokens, without the ones that begin and end it.
        score: What the search ranks it by.
        log_probability: Natural logarithm of its probability, that of its end included.
        attention: Where each of ``tokens`` was looked for, (T, S) float32.
    """

    tokens: tuple[int, ...]
    score: float
    log_probability: float
    attention: Tensor


class _Step(NamedTuple):
    """What was decided at a step, of the B' sequences that were left.

    Attributes:
        sequences: Which these were, (B',).
        attention: Where each beginning looked, (B', k, S).
        parents: Beginning that each new one goes on from, (B', K).
        tokens: What it goes on with, (B', K).
    """

    sequences: Tensor
    attention: Tensor
    parents: Tensor
    tokens: Tensor


class _Ending(NamedTuple):
    score: float
    log_probability: float
    length: int  # steps before the one that ended it
    parent: int  # beginning that was ended


@torch.no_grad()
def beam_search(
    writer: Writer,
    source_lengths: Tensor,
    limits: Tensor | Sequence[int],
    begin: int,
    end: int,
    *,
    beam_size: int = 1,
    n_best: int = 1,
    penalties: Penalties = NO_PENALTIES,
    forbidden: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """Looks for the best sequences.

    A sequence is done when no beginning can become better than the endings to give; with a single
    beginning, at its first ending, so that it has the likeliest token at each step. It then costs
    nothing more. Among equals the choice is PyTorch's.

    Args:
        writer: Sequences, none of which has begun.
        source_lengths: Source steps of each, (B,) int64.
        limits: Most tokens of each, without its end, (B,) int64, 0 or more; there the end comes
            with the probability that it has.
        begin: Token before the first.
        end: Token after the last.
        beam_size: Beginnings of a sequence that compete, K.
        n_best: Endings to give.
        penalties: What to rank by, beside the probability.
        forbidden: Tokens that are never written.

    Returns:
        Of each sequence the best endings, the best first; fewer than ``n_best`` if there are not as
        many.

    Raises:
        InputError: If a number is out of range, or nothing may come next.
    """
    if not 1 <= n_best <= beam_size:
        raise InputError(
            f"n_best must be at least 1 and at most beam_size, got {n_best} and {beam_size}"
        )
    if not all(0 <= penalty < float("inf") for penalty in penalties):
        raise InputError(f"penalties must be 0 or more, got {penalties}")
    if end in forbidden:
        raise InputError(f"the end, {end}, must not be forbidden: nothing could be written")
    device = source_lengths.device
    limits = torch.as_tensor(limits, dtype=torch.int64, device=device)
    if limits.shape != source_lengths.shape:
        raise InputError(
            f"limits must have one number a sequence, the shape {tuple(source_lengths.shape)}, got "
            f"{tuple(limits.shape)}"
        )
    if (limits < 0).any():
        raise InputError(f"limits must be 0 or more, got {int(limits.min())}")
    left = torch.arange(len(source_lengths), device=device)
    tokens = torch.full_like(left, begin)
    totals = torch.zeros(len(left), 1, device=device)  # log-probabilities of beginnings, (B', k)
    seen: Tensor | None = None  # sums of attention, (B', k, S)
    endings: list[list[_Ending]] = [[] for _ in left]
    steps: list[_Step] = []
    while len(left):
        log_probs, attention = writer.step(tokens)
        log_probs = log_probs.unflatten(0, totals.shape)
        _check(log_probs, totals, left, len(steps))
        log_probs = log_probs.float().clone()  # a writer's own stays as it is
        log_probs[..., list(forbidden)] = _NO
        # What is as long as it may be must end.
        others = torch.arange(log_probs.size(2), device=device) != end
        log_probs = log_probs.masked_fill((limits[left] <= len(steps))[:, None, None] & others, _NO)
        attention = attention.float().unflatten(0, totals.shape)
        if penalties.coverage:
            seen = attention if seen is None else seen + attention

        sums, parents, chosen = _best(totals.unsqueeze(2) + log_probs, 2 * beam_size)
        ends = chosen == end
        scores = _scores(sums, parents, seen, source_lengths[left], len(steps), penalties)
        # An ending that is not among the best is no better than beginnings that go on.
        good = ends & (sums > _NO) & (torch.arange(sums.size(1), device=device) < beam_size)
        for place, rank in good.nonzero().tolist():
            ending = _Ending(
                float(scores[place, rank]), float(sums[place, rank]), len(steps),
                int(parents[place, rank]),
            )  # fmt: skip
            endings[int(left[place])].append(ending)

        # The best that go on, in the order of their ranks.
        ranks = ends.int().argsort(dim=1, stable=True)[:, :beam_size]
        totals = sums.masked_fill(ends, _NO).gather(1, ranks)
        parents, chosen = parents.gather(1, ranks), chosen.gather(1, ranks)
        steps.append(_Step(left, attention, parents, chosen))

        worst = torch.tensor([_worst(endings[i], n_best) for i in left.tolist()], device=device)
        if beam_size == 1:
            goes_on = (worst == _NO) & (totals[:, 0] > _NO)
        else:
            # A log-probability only falls, and is divided by no more than at the last step.
            most = ((6 + limits[left]) / 6) ** penalties.length
            goes_on = totals.amax(1) / most > worst
        rows = torch.arange(attention[..., 0].numel(), device=device).view(attention.shape[:2])
        if not goes_on.all():
            kept = goes_on.nonzero().squeeze(1)
            left, totals, parents, chosen = (p[kept] for p in (left, totals, parents, chosen))
            seen = None if seen is None else seen[kept]
            rows = rows[: len(kept)]
            if not len(kept):
                break
            writer.keep(kept)
        tokens = chosen.flatten()
        if not torch.equal(wanted := rows.gather(1, parents), rows):
            writer.reorder(wanted.flatten())
            seen = None if seen is None else seen.flatten(0, 1)[wanted]
    return _read_back(endings, steps, source_lengths, n_best)


def _check(log_probs: Tensor, totals: Tensor, left: Tensor, step: int) -> None:
    likeliest = log_probs.amax(2)  # not a number if one of them is not
    # What has no probability fills the beam where there are too few beginnings.
    bad = likeliest.isnan() | (likeliest.isinf() & (totals > _NO))
    if bad.any():
        place, row = bad.nonzero()[0].tolist()
        fault = "a log-probability is not a number"
        if not likeliest[place, row].isnan():
            fault = f"the likeliest token has the log-probability {float(likeliest[place, row])}"
        raise InputError(
            f"{fault}, at step {step} of sequence {int(left[place])}: such a model writes nothing"
        )


def _best(sums: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Gives the best of sums, (B', k, V), with their beginnings and tokens, each (B', count)."""
    size = sums.size(2)
    best, places = sums.flatten(1).topk(min(count, sums[0].numel()))
    missing = (0, count - best.size(1))
    best = F.pad(best, missing, value=_NO)
    places = F.pad(places, missing)
    return best, places // size, places % size


def _scores(
    sums: Tensor,
    parents: Tensor,
    seen: Tensor | None,
    source_lengths: Tensor,
    length: int,
    penalties: Penalties,
) -> Tensor:
    """Ranks what ends now, (B', count)."""
    scores = sums / ((5 + length + 1) / 6) ** penalties.length
    if seen is not None:
        real = torch.arange(seen.size(2), device=seen.device) < source_lengths[:, None, None]
        logs = seen.clamp(_UNSEEN, 1).log() * real
        scores = scores + penalties.coverage * logs.sum(2).gather(1, parents)
    return scores


def _worst(endings: list[_Ending], n_best: int) -> float:
    """Gives the score that an ending must have to be one of the best."""
    if len(endings) < n_best:
        return _NO
    return sorted((ending.score for ending in endings), reverse=True)[n_best - 1]


def _read_back(
    endings: list[list[_Ending]], steps: list[_Step], source_lengths: Tensor, n_best: int
) -> list[list[Hypothesis]]:
    """Follows the best endings to their beginnings."""
    places = [{i: place for place, i in enumerate(step.sequences.tolist())} for step in steps]
    looked = [step.attention.cpu() for step in steps]
    came = [(step.parents.tolist(), step.tokens.tolist()) for step in steps]
    found: list[list[Hypothesis]] = []
    for i, size in enumerate(source_lengths.tolist()):
        found.append([])
        for ending in sorted(endings[i], key=lambda ending: -ending.score)[:n_best]:
            beginning, tokens, attention = ending.parent, [], []
            for step in range(ending.length - 1, -1, -1):
                parents, chosen = came[step]
                place = places[step][i]
                tokens.append(chosen[place][beginning])
                beginning = parents[place][beginning]
                attention.append(looked[step][place, beginning, :size])
            rows = torch.stack(attention[::-1]) if attention else torch.zeros(0, size)
            found[i].append(
                Hypothesis(tuple(tokens[::-1]), ending.score, ending.log_probability, rows)
            )
    return found
