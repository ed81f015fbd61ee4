"""How recordings are decoded."""

from dataclasses import dataclass
from pathlib import Path

from srulight.runtime.errors import InputError, check_range


@dataclass(frozen=True)
class DecoderSettings:
    """How the tokens of a recording are found; a beam of 1 takes the likeliest at each step.

    Args:
        beam_size: Texts that compete while a test recording, or one to predict, is decoded; 1 takes
            the likeliest token at each step. Validation always does that.
        language_model: File of an n-gram model of words (ARPA, plain or .gz), which a beam of more
            than 1 heeds.
        language_weight: Factor of the language model's log-probabilities.
        word_bonus: Added to the score of a text for each word; balances a language model, which
            favours few.
    """

    beam_size: int = 1
    language_model: str | None = None
    language_weight: float = 0.5
    word_bonus: float = 0.0

    def __post_init__(self) -> None:
        check_range(1, beam_size=self.beam_size)
        check_range(0, language_weight=self.language_weight)
        check_range(-1000, 1000, word_bonus=self.word_bonus)
        if self.language_model is not None and self.beam_size == 1:
            raise InputError("a language model needs a beam_size above 1, such as 16")

    @property
    def path(self) -> Path | None:
        """File of the language model."""
        return None if self.language_model is None else Path(self.language_model).expanduser()
