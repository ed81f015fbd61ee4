"""Beam search for models that decode sequences token by token.

Shapes: B sequences, each with a beam of K partial hypotheses in adjacent rows, which makes
N = K * B rows (K is 1 before the first step); V tokens in the vocabulary; S source steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.translation.beams import Beams, Hypothesis
from srulight.tasks.translation.settings import SearchSettings


class IncrementalDecoder(ABC):
    """Decodes many sequences in parallel, one token per step."""

    @abstractmethod
    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Feeds the next token of every row to the decoder.

        Args:
            tokens: Token ids, (N,) int64.

        Returns:
            The log-probability of each possible next token (natural logarithm), (N, V), and the
            attention weights of each row over the source steps, (N, S), 0 in padding.
        """

    @abstractmethod
    def reorder(self, rows: Tensor) -> None:
        """Replaces the rows of the decoder by a selection of them.

        Args:
            rows: Indices of the selected rows, (N',) int64. The rows of a sequence are adjacent,
                and a row may be selected several times.
        """

    @abstractmethod
    def keep(self, sequences: Tensor) -> None:
        """Drops all sequences except the given ones, which keep all their rows.

        Args:
            sequences: Indices of the sequences to keep, (B',) int64, among the current ones.
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
    """Finds the best hypotheses for each sequence by beam search.

    The search for a sequence stops as soon as no partial hypothesis can beat the finished
    hypotheses that it returns. With a beam of 1 it stops at the first end token, which makes it
    greedy decoding. A sequence whose search has stopped leaves the batch. PyTorch decides between
    hypotheses of equal score.

    Args:
        decoder: Decoder, positioned at the beginning of all sequences.
        source_lengths: Number of source steps of each sequence, (B,) int64.
        limits: Maximum number of tokens of each sequence, not counting the end token, (B,) int64,
            0 or more. A hypothesis of this length is ended, with the probability of the end token
            at that step.
        begin: Id of the token that starts every sequence.
        end: Id of the token that ends every sequence.
        settings: Beam size and penalties.
        n_best: Number of hypotheses to return per sequence, from 1 to the beam size.
        forbidden: Ids of tokens that never occur in a hypothesis.

    Returns:
        The hypotheses of each sequence in order of decreasing score. A sequence has fewer than
        ``n_best`` if the search finds fewer.

    Raises:
        InputError: If a number is out of range, or the log-probabilities are infinite or NaN.
    """
    if not 1 <= n_best <= settings.beam_size:
        raise InputError(
            f"n_best must be between 1 and beam_size ({settings.beam_size}), got {n_best}; raise "
            "beam_size or lower n_best"
        )
    if end in forbidden:
        raise InputError(f"forbidden must not contain the end token, got {end}; remove it")
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
            f"limits must have one number per sequence, shape {tuple(source_lengths.shape)}, got "
            f"shape {tuple(limits.shape)}"
        )
    if (limits < 0).any():
        raise InputError(f"limits must be 0 or more, got {int(limits.min())}")
    return limits
