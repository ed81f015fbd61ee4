"""Beam search for sequences that a model decodes token by token.

Shapes: B sequences, each with a beam of K partial hypotheses in rows next to each other, which
makes N = K * B rows (K is 1 before the first step); V tokens, S source steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.translation.beams import Beams, Hypothesis
from srulight.tasks.translation.settings import SearchSettings


class IncrementalDecoder(ABC):
    """Decodes many sequences at once, a token of each at every step."""

    @abstractmethod
    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Reads one more token of every row.

        Args:
            tokens: Token ids, (N,) int64.

        Returns:
            Log-probability of each next token (natural logarithm), (N, V), and the attention of
            each row to each source step, (N, S), 0 where padded.
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
            sequences: Indices of the sequences to keep, (B',) int64, among those that are left.
        """


@torch.no_grad()
def beam_search(
    decoder: IncrementalDecoder,
    source_lengths: Tensor,
    limits: Tensor | Sequence[int],
    begin: int,
    end: int,
    settings: SearchSettings,
    *,
    n_best: int = 1,
    forbidden: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """Finds the best sequences.

    A sequence is done when no partial hypothesis can become better than the finished ones to
    return; with a beam of 1, at its first end, so that it has the likeliest token at each step. It
    then costs nothing more. Among equals the choice is PyTorch's.

    Args:
        decoder: Decoder at the beginning of all sequences.
        source_lengths: Source steps of each, (B,) int64.
        limits: Most tokens of each, without its end, (B,) int64, 0 or more; there the end comes
            with the probability that it has.
        begin: Token before the first.
        end: Token after the last.
        settings: Size of the beam, and penalties.
        n_best: Hypotheses to return, at most the beam size.
        forbidden: Tokens that never occur in a hypothesis.

    Returns:
        The best hypotheses of each sequence, the best first; fewer than ``n_best`` if there are not
        as many.

    Raises:
        InputError: If a number is out of range, or the decoder leaves no token possible.
    """
    if not 1 <= n_best <= settings.beam_size:
        raise InputError(
            f"n_best must be at least 1 and at most beam_size, got {n_best} and "
            f"{settings.beam_size}"
        )
    if end in forbidden:
        raise InputError(f"the end, {end}, must not be forbidden: no sequence could end")
    limits = _limits(limits, source_lengths)
    beams = Beams(source_lengths, limits, end, settings, n_best, list(forbidden))
    tokens = torch.full_like(limits, begin)
    while len(tokens):
        kept = beams.advance(*decoder.step(tokens))
        tokens = beams.tokens.flatten()
        if kept is not None:
            if not len(kept):
                break
            decoder.keep(kept)
        if (rows := beams.reorder()) is not None:
            decoder.reorder(rows)
    return beams.hypotheses()


def _limits(limits: Tensor | Sequence[int], source_lengths: Tensor) -> Tensor:
    limits = torch.as_tensor(limits, dtype=torch.int64, device=source_lengths.device)
    if limits.shape != source_lengths.shape:
        raise InputError(
            f"limits must have one number a sequence, the shape {tuple(source_lengths.shape)}, got "
            f"{tuple(limits.shape)}"
        )
    if (limits < 0).any():
        raise InputError(f"limits must be 0 or more, got {int(limits.min())}")
    return limits
