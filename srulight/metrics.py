"""Measures that torchmetrics does not have."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torchmetrics import Metric

from srulight.errors import InputError
from srulight.processes import gather


class MeanLoss(Metric):
    """The mean of the losses of many tokens, however they are batched.

    torchmetrics' own mean looks at every value to find nan, for which a GPU must be waited for, and
    drops the weights where it is told not to (1.9). Sums are in float64.
    """

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: Tensor) -> None:
        """Adds the losses of a batch.

        Args:
            total: Their sum.
            count: How many they are, int64.
        """
        # Not in place: with a model in half precision the sum begins as a zero in half precision.
        self.total = self.total + total.detach().double()
        self.count += count

    def compute(self) -> Tensor:
        """Gives their mean, float64."""
        return self.total / self.count


class TranslationQuality:
    """BLEU and chrF of a corpus of translations, as sacrebleu has them (Post 2018).

    Not a torchmetrics Metric: its BLEU does not smooth as sacrebleu does, and its chrF differs in
    the third digit and takes 30 times as long (1.9).

    Args:
        lowercase: Whether upper and lower case are the same.

    Raises:
        InputError: If sacrebleu is not installed.
    """

    def __init__(self, lowercase: bool = False) -> None:
        try:
            from sacrebleu.metrics.bleu import BLEU
            from sacrebleu.metrics.chrf import CHRF
        except ImportError as error:
            raise InputError('BLEU needs sacrebleu: pip install "srulight[translation]"') from error
        self._bleu = BLEU(lowercase=lowercase)
        self._chrf = CHRF(lowercase=lowercase)
        self._pairs: list[tuple[str, str]] = []

    def update(self, translations: Iterable[str], references: Iterable[str]) -> None:
        """Adds translations, and what each is compared with."""
        self._pairs += zip(translations, references, strict=True)

    def compute(self) -> dict[str, float]:
        """Gives ``bleu`` and ``chrf``, 0 to 100, of the translations of all processes.

        All must call this. Nothing is left; without translations both are NaN.
        """
        pairs = [pair for share in gather(self._pairs) for pair in share]
        self._pairs = []
        if not pairs:
            return {"bleu": float("nan"), "chrf": float("nan")}
        translations, references = map(list, zip(*pairs, strict=True))
        return {
            "bleu": self._bleu.corpus_score(translations, [references]).score,
            "chrf": self._chrf.corpus_score(translations, [references]).score,
        }

    @property
    def signatures(self) -> str:
        """How both are computed, as sacrebleu writes it down; known after ``compute``."""
        return f"BLEU {self._bleu.get_signature()}; chrF {self._chrf.get_signature()}"
