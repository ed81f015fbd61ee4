"""Translation metrics: BLEU and chrF."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from srulight.runtime.distributed import gather
from srulight.runtime.errors import InputError


class TranslationQuality(Metric):
    """Computes corpus-level BLEU and chrF with sacrebleu (Post 2018).

    torchmetrics 1.9 is no substitute: its BLEU does not smooth in the way of sacrebleu, and its
    chrF differs in the third digit and takes 30 times as long.

    Args:
        lowercase: Whether to ignore case.
    """

    def __init__(self, lowercase: bool = False) -> None:
        super().__init__()
        self._lowercase = lowercase
        self._scorers: dict[str, Any] = {}
        self._pairs: list[tuple[str, str]] = []

    def update(self, translations: Iterable[str], references: Iterable[str]) -> None:
        """Adds translations and their references; a batch may have none."""
        self._pairs += zip(translations, references, strict=True)

    def compute(self) -> dict[str, Tensor]:
        """Computes ``bleu`` and ``chrf``, from 0 to 100, over the translations of all processes.

        Every process must call this method. Without translations, both are NaN.

        Raises:
            InputError: If sacrebleu is not installed.
        """
        self._scorers = sacrebleu_scorers(self._lowercase)
        pairs = [pair for share in gather(self._pairs) for pair in share]
        scores = dict.fromkeys(self._scorers, torch.nan)
        if pairs:
            translations, references = map(list, zip(*pairs, strict=True))
            for name, scorer in self._scorers.items():
                scores[name] = scorer.corpus_score(translations, [references]).score
        return {name: torch.tensor(score, device=self.device) for name, score in scores.items()}

    def reset(self) -> None:
        """Discards all translations."""
        super().reset()
        self._pairs = []

    @property
    def signatures(self) -> str:
        """Signatures of sacrebleu for both metrics; available after ``compute``."""
        bleu, chrf = (self._scorers[name].get_signature() for name in ("bleu", "chrf"))
        return f"BLEU {bleu}; chrF {chrf}"


def sacrebleu_scorers(lowercase: bool = False) -> dict[str, Any]:
    """Creates the sacrebleu metrics ``bleu`` and ``chrf``.

    Args:
        lowercase: Whether to ignore case.

    Raises:
        InputError: If sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise InputError(
            'BLEU needs sacrebleu; install it: pip install "srulight[translation]"'
        ) from error
    return {"bleu": BLEU(lowercase=lowercase), "chrf": CHRF(lowercase=lowercase)}
