"""One class out of several."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from srulight.data.base import IGNORED
from srulight.targets.base import LossSettings, Target
from srulight.targets.report import Report

_BINS = 15  # Bins of the expected calibration error, as in Guo et al. (2017), arXiv 1706.04599.
_MOST = 1000  # Classes of the largest confusion matrix, of 8 MB.


class ClassAnswer(NamedTuple):
    """The most probable class.

    Attributes:
        label: Name of the class.
        probability: Probability of the class, 0 to 1.
        probabilities: Probability of each class, in the order of the classes.
    """

    label: str
    probability: float
    probabilities: list[float]


class OneClass(Target):
    """One class out of several, which exclude each other.

    Args:
        names: Names of the classes.
        settings: Settings of the loss.
        counts: Number of training examples of each class.
    """

    kind = "class"
    scores = {  # noqa: RUF012
        "accuracy": "max", "macro_f1": "max", "weighted_f1": "max", "calibration_error": "min",
        "loss": "min",
    }  # fmt: skip

    def __init__(self, names: Sequence[str], settings: LossSettings, counts: Sequence[int]) -> None:
        mean = sum(counts) / max(1, sum(count > 0 for count in counts))
        super().__init__(names, settings, [mean / count if count else 1.0 for count in counts])

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits, classes = _flat(outputs, targets)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        weights = None if self.weights is None else self.weights.to(logits)
        smoothing, focal = self.settings.smoothing, self.settings.focal
        if focal == 0:
            total = F.cross_entropy(
                logits, classes, weights, ignore_index=IGNORED, reduction="sum",
                label_smoothing=smoothing,
            )  # fmt: skip
            return total, (classes != IGNORED).sum()
        losses = F.cross_entropy(
            logits, classes, weights, ignore_index=IGNORED, reduction="none",
            label_smoothing=smoothing,
        )  # fmt: skip
        known = classes != IGNORED
        own = logits.softmax(-1).gather(-1, classes.clamp_min(0).unsqueeze(-1)).squeeze(-1)
        # The power of an exact zero has no finite gradient if the exponent is below 1.
        return (losses * (1 - own).clamp_min(1e-7) ** focal * known).sum(), known.sum()

    def new_metrics(self) -> dict[str, Metric]:
        pairs = self.output_size <= _MOST
        return {
            "classes": ClassCounts(self.output_size, pairs),
            "calibration_error": CalibrationError(),
        }

    def update(self, metrics: Mapping[str, Metric], outputs: Tensor, targets: Tensor) -> None:
        logits, classes = _flat(outputs, targets)
        confidence, predicted = logits.float().softmax(-1).max(-1)
        metrics["classes"].update(predicted, classes)
        metrics["calibration_error"].update(confidence, predicted == classes, classes != IGNORED)

    def summarize(self, stage: str, values: dict[str, Tensor]) -> tuple[dict[str, Tensor], Report]:
        table = values["classes"]
        hits, actual, found = table[:3].double()
        f1 = 2 * hits / (actual + found)  # NaN if the class occurs in neither
        scalars = {
            "accuracy": hits.sum() / actual.sum(),
            "macro_f1": f1.nanmean(),
            "weighted_f1": (f1.nan_to_num() * actual).sum() / actual.sum(),
        }
        measures = torch.stack((hits / found, hits / actual, f1), -1).tolist()
        rows = [
            [name, *measured, support]
            for name, measured, support in zip(self.names, measures, table[1].tolist(), strict=True)
        ]
        header = ["class", "precision", "recall", "f1", "support"]
        others = {name: value for name, value in values.items() if name != "classes"}
        confusion = table[3:].cpu() if len(table) > 3 else None
        return {**others, **scalars}, Report(header, rows, confusion)

    def answers(self, outputs: Tensor) -> list[ClassAnswer]:
        probabilities = outputs.float().softmax(-1)
        best, classes = probabilities.max(-1)
        found = zip(classes.tolist(), best.tolist(), probabilities.tolist(), strict=True)
        return [ClassAnswer(self.names[c], p, every) for c, p, every in found]

    def columns(self, probabilities: bool) -> list[str]:
        more = [f"probability:{name}" for name in self.names] if probabilities else []
        return ["prediction", "probability", *more]

    def cells(self, answer: ClassAnswer, probabilities: bool) -> list[str | float]:
        more = answer.probabilities if probabilities else []
        return [answer.label, answer.probability, *more]


def _flat(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return outputs.flatten(0, -2), targets.flatten()


class ClassCounts(Metric):
    """Counts how often each class is predicted, and how often it is true.

    The metrics of torchmetrics (1.9) count all pairs of classes in each batch, and need memory for
    every pair and example if algorithms must be deterministic.

    Args:
        size: Number of classes, C.
        pairs: Whether to count each pair of a true and a predicted class as well.
    """

    counts: Tensor

    def __init__(self, size: int, pairs: bool) -> None:
        super().__init__()
        self._pairs = pairs
        rows = 3 + size if pairs else 3
        zeros = torch.zeros(rows, size, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, predicted: Tensor, classes: Tensor) -> None:
        """Adds a batch.

        Args:
            predicted: Predicted classes, (N,) int64.
            classes: True classes, (N,) int64; -100 where they are unknown.
        """
        known = (classes != IGNORED).long()
        true = classes.clamp_min(0)
        hits, actual, found = self.counts[:3]
        hits.index_add_(0, true, known * (predicted == classes))
        actual.index_add_(0, true, known)
        found.index_add_(0, predicted, known)
        if self._pairs:
            size = self.counts.shape[1]
            self.counts[3:].view(-1).index_add_(0, true * size + predicted, known)

    def compute(self) -> Tensor:
        """Returns a table, (3, C) or, with pairs, (3 + C, C) int64.

        The rows are the number of correct predictions of each class, of examples, and of
        predictions; and then the confusion matrix, with a row for each true class.
        """
        return self.counts


class CalibrationError(Metric):
    """The expected calibration error in equal bins, without keeping all confidences."""

    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        zeros = torch.zeros(_BINS, 3, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")

    def update(self, confidence: Tensor, correct: Tensor, known: Tensor) -> None:
        """Adds a batch.

        Args:
            confidence: Probability of each predicted class, (N,) float32.
            correct: Whether it is the true class, (N,) bool.
            known: Whether the true class is known, (N,) bool.
        """
        bins = (confidence * _BINS).long().clamp(0, _BINS - 1)
        parts = torch.stack((known, confidence.where(known, 0), correct & known), -1).double()
        # Not in place: in a model of half precision, the initial zero has half precision, too.
        self.sums = self.sums.double().index_add(0, bins, parts)

    def compute(self) -> Tensor:
        """Returns the mean difference of confidence and accuracy, 0 to 1, float64."""
        count, confidence, correct = self.sums.T
        return (confidence - correct).abs().sum() / count.sum()
