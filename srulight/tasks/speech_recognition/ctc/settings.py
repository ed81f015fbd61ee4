"""How recordings are decoded."""

from dataclasses import dataclass
from pathlib import Path

from srulight.runtime.errors import InputError, check_range


@dataclass(frozen=True)
class DecoderSettings:
    """How the tokens of a recording are found; a beam of 1 takes the most probable at each step.

    Args:
        beam_size: Hypotheses that compete while a test recording, or one to predict, is decoded; 1
            takes the most probable token at each step. Validation always does that.
        language_model: File of an n-gram model of words (ARPA, plain or .gz), which needs a beam of
            more than 1.
        language_weight: Factor of the language model's log-probabilities, 0 or more.
        word_bonus: Added to the score of a hypothesis for each word, in nats, -1000 to 1000;
            balances a language model, which favours few words. It needs a beam of more than 1.
    """

    beam_size: int = 1
    language_model: str | None = None
    language_weight: float = 0.5
    word_bonus: float = 0.0

    def __post_init__(self) -> None:
        check_range(1, beam_size=self.beam_size)
        check_range(0, language_weight=self.language_weight)
        check_range(-1000, 1000, word_bonus=self.word_bonus)
        if self.beam_size == 1 and (self.language_model is not None or self.word_bonus):
            what = "word_bonus" if self.language_model is None else "a language model"
            raise InputError(f"{what} needs a beam_size above 1, such as 16")

    @property
    def path(self) -> Path | None:
        """File of the language model."""
        return None if self.language_model is None else Path(self.language_model).expanduser()
