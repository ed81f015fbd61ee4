"""How translations are searched for."""

import math
from dataclasses import dataclass

from srulight.runtime.errors import InputError, check_range


@dataclass(frozen=True)
class SearchSettings:
    """How translations are found.

    A translation of T tokens, ``</s>`` among them, has the score log(P) / ((5 + T) / 6) **
    length_penalty + coverage_penalty * sum over source tokens of log(min(attention that all T gave
    it, 1)): Wu et al. (2016), arXiv 1609.08144, equation 14.

    Args:
        beam_size: Translations that compete while a test sentence, or one to predict, is
            translated; 1 takes the likeliest token at each step. Validation always does that.
        length_penalty: Exponent of the length that log-probabilities are divided by, 0 or more; 0
            for none (alpha of the equation).
        coverage_penalty: Weight of what is lost by source tokens that got too little attention, 0
            or more; 0 for none (beta of the equation).
        max_ratio: Most tokens of a translation for each token of the sentence, ``</s>`` and eight
            more among them; above 0.
        replace_unknown: Whether ``<unk>`` in a translation becomes the source token that got the
            most attention there.
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
