"""Settings of the decoder."""

from dataclasses import dataclass
from pathlib import Path

from srulight.runtime.errors import InputError, check_range


@dataclass(frozen=True)
class DecoderSettings:
    """Settings of decoding in testing and prediction.

    Args:
        beam_size: Number of hypotheses that beam search keeps; 1 takes the most probable token at
            each step (greedy decoding). Validation always decodes greedily.
        language_model: ARPA file (plain or .gz) of an n-gram language model of words. It needs a
            beam_size above 1.
        language_weight: Weight of the language model's log-probabilities, 0 or more.
        word_bonus: Score added for each word of a hypothesis, in nats, -1000 to 1000. It offsets
            the preference of a language model for few words, and needs a beam_size above 1.
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
            raise InputError(f"{what} needs a beam_size above 1, got 1; set it to 16, for example")

    @property
    def path(self) -> Path | None:
        """Path of the language model, with ``~`` expanded; None if there is none."""
        return None if self.language_model is None else Path(self.language_model).expanduser()
