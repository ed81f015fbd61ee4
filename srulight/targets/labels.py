"""Several labels at once, each of which applies or not."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_precision_recall_curve,
)
from torchmetrics.utilities import dim_zero_cat

from srulight.targets.base import LossSettings, Target
from srulight.targets.report import Report


class LabelsAnswer(NamedTuple):
    """The labels whose probability reaches their threshold.

    Attributes:
        labels: Names of these labels.
        probabilities: Probability of each label, 0 to 1, in the order of the labels.
    """

    labels: list[str]
    probabilities: list[float]


class Labels(Target):
    """Several labels at once, each of which applies or not.

    Args:
        names: Names of the labels.
        settings: Settings of the loss.
        positives: Number of training examples to which each label applies.
        totals: Number of training examples for which it is known whether the label applies.

    Attributes:
        thresholds: Probability from which on each label applies, (K,): the threshold with the best
            F1 on the last validation, and 0.5 before the first.
    """

    kind = "labels"
    scores = {  # noqa: RUF012
        "average_precision": "max", "roc_auc": "max", "macro_f1": "max", "loss": "min",
    }  # fmt: skip
    thresholds: Tensor

    def __init__(
        self,
        names: Sequence[str],
        settings: LossSettings,
        positives: Sequence[int],
        totals: Sequence[int],
    ) -> None:
        balanced = [
            (total - count) / count if 0 < count < total else 1.0
            for count, total in zip(positives, totals, strict=True)
        ]
        super().__init__(names, settings, balanced)
        self.register_buffer("thresholds", torch.full((len(names),), 0.5))

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = outputs.float() if outputs.dtype.itemsize < 4 else outputs
        known = ~targets.isnan()
        applies = targets.nan_to_num().to(logits)
        goal = applies
        if self.settings.smoothing:
            goal = applies * (1 - self.settings.smoothing) + self.settings.smoothing / 2
        weights = None if self.weights is None else self.weights.to(logits)
        losses = F.binary_cross_entropy_with_logits(
            logits, goal, reduction="none", pos_weight=weights
        )
        if self.settings.focal:
            wrong = (logits.sigmoid() - applies).abs()  # 1 - probability of the true value
            # The power of an exact zero has no finite gradient if the exponent is below 1.
            losses = losses * wrong.clamp_min(1e-7) ** self.settings.focal
        return losses.where(known, 0).sum(), known.sum()

    def new_metrics(self) -> dict[str, Metric]:
        return {"labels": LabelScores(self.output_size)}

    def update(self, metrics: Mapping[str, Metric], outputs: Tensor, targets: Tensor) -> None:
        probabilities = outputs.flatten(0, -2).float().sigmoid()
        metrics["labels"].update(
            probabilities, targets.flatten(0, -2), probabilities >= self.thresholds
        )

    def summarize(self, stage: str, values: dict[str, Tensor]) -> tuple[dict[str, Tensor], Report]:
        table = values["labels"].cpu()
        auc, precision_area, best, best_f1, best_precision, best_recall = table[:, :6].T
        hits, found, support = table[:, 6:].T
        if stage == "val":
            self.thresholds.copy_(torch.where(best.isnan(), 0.5, best))
            precision, recall, f1 = best_precision, best_recall, best_f1
        else:
            precision, recall, f1 = hits / found, hits / support, 2 * hits / (found + support)
        header = [
            "label", "roc_auc", "average_precision", "precision", "recall", "f1", "threshold",
            "support",
        ]  # fmt: skip
        columns = [auc, precision_area, precision, recall, f1, self.thresholds.cpu()]
        rows: list[list[str | float]] = [
            [name, *(float(column[i]) for column in columns), int(support[i])]
            for i, name in enumerate(self.names)
        ]
        scalars = {
            "roc_auc": auc.nanmean(),
            "average_precision": precision_area.nanmean(),
            "macro_f1": f1.nanmean(),
        }
        others = {name: value for name, value in values.items() if name != "labels"}
        return {**others, **{k: v.to(values["labels"]) for k, v in scalars.items()}}, Report(
            header, rows
        )

    def answers(self, outputs: Tensor) -> list[LabelsAnswer]:
        probabilities = outputs.float().sigmoid()
        applies = (probabilities >= self.thresholds).tolist()
        return [
            LabelsAnswer([n for n, yes in zip(self.names, chosen, strict=True) if yes], every)
            for chosen, every in zip(applies, probabilities.tolist(), strict=True)
        ]

    def columns(self, probabilities: bool) -> list[str]:
        more = [f"probability:{name}" for name in self.names] if probabilities else []
        return ["prediction", *more]

    def cells(self, answer: LabelsAnswer, probabilities: bool) -> list[str | float]:
        more = answer.probabilities if probabilities else []
        return [";".join(answer.labels), *more]


class LabelScores(Metric):
    """Areas under the curves of each label, and its best threshold.

    Keeps all probabilities, because the areas are exact.

    Args:
        size: Number of labels, K.
    """

    probabilities: list[Tensor]
    targets: list[Tensor]
    counts: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.add_state("probabilities", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")
        self.add_state("counts", torch.zeros(size, 3, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, targets: Tensor, applies: Tensor) -> None:
        """Adds a batch.

        Args:
            probabilities: Probability of each label, (N, K).
            targets: 1 where a label applies, 0 where it does not, NaN where it is unknown, (N, K).
            applies: Whether the model says that a label applies, (N, K).
        """
        rows = ~targets.isnan().all(-1)  # padded steps have no targets
        self.probabilities.append(probabilities[rows])
        self.targets.append(targets[rows].nan_to_num(-1).to(torch.int8))
        known, true = ~targets.isnan(), targets == 1
        counts = (true & applies, known & applies, true)
        self.counts += torch.stack([count.sum(0) for count in counts], -1)

    def compute(self) -> Tensor:
        """Returns a table, (K, 9) float64.

        The columns are the area under the ROC curve, the average precision; the threshold with the
        best F1, that F1 and the precision and recall there; and the number of true positives, of
        positive answers, and of examples to which the label applies. The first six are NaN for a
        label that applies to all examples, or to none.
        """
        probabilities, targets = dim_zero_cat(self.probabilities), dim_zero_cat(self.targets)
        rows = []
        for column in range(len(self.counts)):
            known = targets[:, column] >= 0
            scores, applies = probabilities[known, column], targets[known, column].long()
            if len(applies) == 0 or applies.min() == applies.max():
                rows.append([math.nan] * 6)
                continue
            precision, recall, thresholds = binary_precision_recall_curve(
                scores, applies, validate_args=False
            )
            f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
            best = int(f1[: len(thresholds)].argmax())
            areas = [
                binary_auroc(scores, applies, validate_args=False),
                binary_average_precision(scores, applies, validate_args=False),
            ]
            places = [thresholds[best], f1[best], precision[best], recall[best]]
            rows.append([float(value) for value in areas + places])
        table = torch.tensor(rows, dtype=torch.float64, device=self.counts.device)
        return torch.cat((table, self.counts.double()), -1)
