"""One class out of several."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

from srulight.data.base import IGNORED
from srulight.targets.base import LossSettings, Target
from srulight.targets.report import Report

_BINS = 15  # Bins of the expected calibration error, as in Guo et al. (2017), arXiv 1706.04599.


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
        super().__init__(names)
        self.settings = settings
        weights = None
        if settings.weights == "balanced":
            known = sum(count > 0 for count in counts)
            weights = [sum(counts) / (known * count) if count else 1.0 for count in counts]
        elif settings.weights != "none":
            weights = settings.given(names)
        self.weights: Tensor | None
        # The configuration determines the weights, so checkpoints need not contain them.
        self.register_buffer(
            "weights", None if weights is None else torch.tensor(weights), persistent=False
        )

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
        # The data module has checked the classes; torchmetrics would check every batch.
        size = self.output_size

        def f1(average: str) -> Metric:
            return MulticlassF1Score(size, 1, average, ignore_index=IGNORED, validate_args=False)  # type: ignore[arg-type]

        return {
            "accuracy": MulticlassAccuracy(
                size, average="micro", ignore_index=IGNORED, validate_args=False
            ),
            "macro_f1": f1("macro"),
            "weighted_f1": f1("weighted"),
            "calibration_error": MulticlassCalibrationError(
                size, _BINS, ignore_index=IGNORED, validate_args=False
            ),
            "confusion": MulticlassConfusionMatrix(size, ignore_index=IGNORED, validate_args=False),
        }

    def update(self, metrics: Mapping[str, Metric], outputs: Tensor, targets: Tensor) -> None:
        logits, classes = _flat(outputs, targets)
        probabilities = logits.float().softmax(-1)
        for name in ("accuracy", "macro_f1", "weighted_f1", "calibration_error", "confusion"):
            metrics[name].update(probabilities, classes)

    def summarize(self, stage: str, values: dict[str, Tensor]) -> tuple[dict[str, Tensor], Report]:
        confusion = values["confusion"].cpu()
        hits, actual, predicted = confusion.diag(), confusion.sum(1), confusion.sum(0)
        rows = []
        for name, hit, support, found in zip(
            self.names, hits.tolist(), actual.tolist(), predicted.tolist(), strict=True
        ):
            precision = hit / found if found else float("nan")
            recall = hit / support if support else float("nan")
            f1 = 2 * hit / (support + found) if support + found else float("nan")
            rows.append([name, precision, recall, f1, support])
        header = ["class", "precision", "recall", "f1", "support"]
        scalars = {name: value for name, value in values.items() if name != "confusion"}
        return scalars, Report(header, rows, confusion.tolist(), self.names)

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
