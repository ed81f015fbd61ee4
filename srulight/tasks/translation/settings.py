"""Settings of the beam search for translations."""

import math
from dataclasses import dataclass

from srulight.runtime.errors import InputError, check_range


@dataclass(frozen=True)
class SearchSettings:
    """Settings of the beam search for translations.

    The search ranks a translation of T tokens, including ``</s>``, by the score log(P) / ((5 + T) /
    6) ** length_penalty + coverage_penalty * sum over source tokens of log(min(a, 1)), where a is
    the total attention that the source token receives: Wu et al. (2016), arXiv 1609.08144, equation
    14.

    Args:
        beam_size: Number of hypotheses that beam search keeps in ``test`` and ``predict``; 1
            decodes greedily. Validation always decodes greedily.
        length_penalty: Exponent of the length normalization, 0 or more; larger values favor longer
            translations, and 0 turns it off (alpha in the equation).
        coverage_penalty: Weight of the penalty for source tokens that receive little attention, 0
            or more; 0 turns it off (beta in the equation).
        max_ratio: Limit on the length of a translation, above 0: a sentence of S tokens, including
            ``</s>``, gets at most max_ratio * (S + 8) tokens.
        replace_unknown: Whether to replace ``<unk>`` in a translation by the source token that
            receives the most attention at that step.
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
            raise InputError(f"max_ratio must be above 0 and finite, got {self.max_ratio}")
