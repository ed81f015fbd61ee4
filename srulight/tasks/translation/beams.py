"""The partial and finished hypotheses of a beam search.

Shapes as in ``srulight.tasks.translation.beam_search``.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.translation.settings import SearchSettings

_NO = float("-inf")
_UNSEEN = 1e-9  # Smallest coverage, so that its logarithm is finite.


class Hypothesis(NamedTuple):
    """A finished sequence.

    Attributes:
        tokens: Ids of its tokens, without the begin and end tokens.
        score: Score by which the search ranks hypotheses.
        log_probability: Natural logarithm of its probability, including that of the end token.
        attention: Attention weights of each token over the source, (T, S) float32.
    """

    tokens: tuple[int, ...]
    score: float
    log_probability: float
    attention: Tensor


class _Step(NamedTuple):
    """The extensions chosen at one step, for the B' sequences that were still active.

    Attributes:
        sequences: Indices of the active sequences, (B',).
        attention: Attention weights of each partial hypothesis, (B', k, S).
        parents: Partial hypothesis that each new one extends, (B', K).
        tokens: Token that extends it, (B', K).
    """

    sequences: Tensor
    attention: Tensor
    parents: Tensor
    tokens: Tensor


class _Finished(NamedTuple):
    score: float
    log_probability: float
    length: int  # number of steps before the end token
    parent: int  # partial hypothesis that ended


class Beams:
    """The partial hypotheses of the active sequences, and the finished ones of all sequences.

    Attributes:
        left: Indices of the active sequences, (B',).
        sums: Log-probabilities of their partial hypotheses, (B', k).
        parents: Partial hypothesis of the previous step that each one extends, (B', K).
        tokens: Last token of each partial hypothesis, (B', K).
        coverage: Attention weights of each partial hypothesis, summed over its steps, (B', k, S);
            None without a coverage penalty.
    """

    def __init__(
        self,
        source_lengths: Tensor,
        limits: Tensor,
        end: int,
        settings: SearchSettings,
        n_best: int,
        forbidden: list[int],
    ) -> None:
        self._source_lengths = source_lengths
        self._limits = limits
        self._end = end
        self._settings = settings
        self._n_best = n_best
        self._forbidden = forbidden
        self._steps: list[_Step] = []
        self._finished: list[list[_Finished]] = [[] for _ in limits]
        self.left = torch.arange(len(limits), device=limits.device)
        self.sums = torch.zeros(len(limits), 1, device=limits.device)
        self.coverage: Tensor | None = None

    def advance(self, log_probs: Tensor, attention: Tensor) -> Tensor | None:
        """Extends all partial hypotheses by one token.

        Args:
            log_probs: Log-probabilities of the next tokens, (N, V).
            attention: Attention weights over the source, (N, S).

        Returns:
            The sequences that are still active, as indices into the previous ``left``; None if all
            of them are.
        """
        beam_size = self._settings.beam_size
        attention = attention.float().unflatten(0, self.sums.shape)
        if self._settings.coverage_penalty:
            self.coverage = attention if self.coverage is None else self.coverage + attention
        log_probs = self._allowed(log_probs.unflatten(0, self.sums.shape))
        # Up to half of the candidates may be end tokens, one for each partial hypothesis.
        sums, parents, tokens = _best(self.sums.unsqueeze(2) + log_probs, 2 * beam_size)
        ends = tokens == self._end
        self._finish(sums, parents, ends)
        # The best candidates that do not end, in the order of their ranks.
        ranks = ends.int().argsort(dim=1, stable=True)[:, :beam_size]
        self.sums = sums.masked_fill(ends, _NO).gather(1, ranks)
        self.parents, self.tokens = parents.gather(1, ranks), tokens.gather(1, ranks)
        self._steps.append(_Step(self.left, attention, self.parents, self.tokens))
        active = self._is_active()
        if active.all():
            return None
        kept = active.nonzero().squeeze(1)
        self.left, self.sums = self.left[kept], self.sums[kept]
        self.parents, self.tokens = self.parents[kept], self.tokens[kept]
        self.coverage = None if self.coverage is None else self.coverage[kept]
        return kept

    def reorder(self) -> Tensor | None:
        """Gives the row that each row continues, (N,); None if every row continues itself."""
        size = self._steps[-1].attention.size(1)
        rows = torch.arange(len(self.left) * size, device=self.left.device).view(-1, size)
        parents = rows.gather(1, self.parents)
        if torch.equal(parents, rows):
            return None
        if self.coverage is not None:
            self.coverage = self.coverage.flatten(0, 1)[parents]
        return parents.flatten()

    def _allowed(self, log_probs: Tensor) -> Tensor:
        """Gives the log-probabilities with disallowed tokens at minus infinity, (B', k, V)."""
        length = len(self._steps)
        likeliest = log_probs.amax(2)  # NaN if any of them is NaN
        # Rows whose sum is minus infinity only fill up a beam with too few hypotheses.
        bad = likeliest.isnan() | (likeliest.isinf() & (self.sums > _NO))
        if bad.any():
            place, row = bad.nonzero()[0].tolist()
            raise InputError(
                f"log-probabilities must be finite, got {float(likeliest[place, row])} for the "
                f"likeliest token at step {length} of sequence {int(self.left[place])}; use a "
                "checkpoint whose weights are finite"
            )
        log_probs = log_probs.float().clone()  # must not change the decoder's tensor in place
        log_probs[..., self._forbidden] = _NO
        # A hypothesis of the maximum length must end.
        others = torch.arange(log_probs.size(2), device=log_probs.device) != self._end
        at_limit = self._limits[self.left] <= length
        return log_probs.masked_fill(at_limit[:, None, None] & others, _NO)

    def _finish(self, sums: Tensor, parents: Tensor, ends: Tensor) -> None:
        """Records the hypotheses that end at this step, among sorted candidates, (B', 2 * K)."""
        length, settings = len(self._steps), self._settings
        scores = sums / ((5 + length + 1) / 6) ** settings.length_penalty
        if self.coverage is not None:
            lengths = self._source_lengths[self.left]
            steps = torch.arange(self.coverage.size(2), device=lengths.device)
            logs = self.coverage.clamp(_UNSEEN, 1).log() * (steps < lengths[:, None, None])
            scores = scores + settings.coverage_penalty * logs.sum(2).gather(1, parents)
        # An end outside the K best candidates is worse than K other candidates.
        ranks = torch.arange(sums.size(1), device=sums.device)
        good = ends & (sums > _NO) & (ranks < settings.beam_size)
        sequences = self.left[good.nonzero()[:, 0]].tolist()
        values = (scores[good].tolist(), sums[good].tolist(), parents[good].tolist())
        for sequence, score, total, parent in zip(sequences, *values, strict=True):
            self._finished[sequence].append(_Finished(score, total, length, parent))

    def _is_active(self) -> Tensor:
        """Says which sequences need further steps, (B',) bool."""
        worst = torch.tensor(
            [self._worst(sequence) for sequence in self.left.tolist()], device=self.left.device
        )
        if self._settings.beam_size == 1:
            return (worst == _NO) & (self.sums[:, 0] > _NO)
        # Log-probabilities only fall, and the length penalty is largest at the length limit.
        most = ((6 + self._limits[self.left]) / 6) ** self._settings.length_penalty
        return self.sums.amax(1) / most > worst

    def _worst(self, sequence: int) -> float:
        """Gives the score that a hypothesis must exceed to be returned."""
        finished = self._finished[sequence]
        if len(finished) < self._n_best:
            return _NO
        return sorted((one.score for one in finished), reverse=True)[self._n_best - 1]

    def hypotheses(self) -> list[list[Hypothesis]]:
        """Traces the best finished hypotheses of each sequence back to their start."""
        places = [{s: i for i, s in enumerate(step.sequences.tolist())} for step in self._steps]
        attentions = [step.attention.cpu() for step in self._steps]
        decided = [(step.parents.tolist(), step.tokens.tolist()) for step in self._steps]
        found: list[list[Hypothesis]] = []
        for sequence, size in enumerate(self._source_lengths.tolist()):
            found.append([])
            best = sorted(self._finished[sequence], key=lambda one: -one.score)[: self._n_best]
            for one in best:
                row, tokens, attention = one.parent, [], []
                for step in range(one.length - 1, -1, -1):
                    parents, chosen = decided[step]
                    place = places[step][sequence]
                    tokens.append(chosen[place][row])
                    row = parents[place][row]
                    attention.append(attentions[step][place, row, :size])
                rows = torch.stack(attention[::-1]) if attention else torch.zeros(0, size)
                found[-1].append(
                    Hypothesis(tuple(tokens[::-1]), one.score, one.log_probability, rows)
                )
        return found


def _best(sums: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Gives the largest sums of (B', k, V), their parents and tokens, each (B', count)."""
    size = sums.size(2)
    best, places = sums.flatten(1).topk(min(count, sums[0].numel()))
    missing = (0, count - best.size(1))
    best = F.pad(best, missing, value=_NO)
    places = F.pad(places, missing)
    return best, places // size, places % size
