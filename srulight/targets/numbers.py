"""One or several numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from srulight.targets.base import LossSettings, Target
from srulight.targets.report import Report

_LOSSES: dict[str, Callable[..., Tensor]] = {
    "squared": F.mse_loss,
    "absolute": F.l1_loss,
    "huber": F.huber_loss,
}


class NumbersAnswer(NamedTuple):
    """The predicted numbers.

    Attributes:
        values: The numbers, in the units of the training data.
    """

    values: list[float]


class Numbers(Target):
    """One or several numbers. The network predicts them standardized by the training data.

    Args:
        names: Names of the numbers.
        settings: Settings of the loss.
        mean: Mean of each number in the training data.
        std: Standard deviation of each number in the training data, above 0.

    Attributes:
        mean: The means, (K,) float64.
        std: The standard deviations, (K,) float64.
    """

    kind = "numbers"
    scores = {"mae": "min", "rmse": "min", "r2": "max", "loss": "min"}  # noqa: RUF012
    number_format = ".6g"

    def __init__(
        self,
        names: Sequence[str],
        settings: LossSettings,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__(names, settings)
        # float64, because a model of half precision would round the units of the data.
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.std = torch.tensor(std, dtype=torch.float64)

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        outputs = outputs.float() if outputs.dtype.itemsize < 4 else outputs
        known = ~targets.isnan()
        losses = _LOSSES[self.settings.numbers](
            outputs, targets.nan_to_num().to(outputs), reduction="none"
        )
        return losses.where(known, 0).sum(), known.sum()

    def new_metrics(self) -> dict[str, Metric]:
        return {"numbers": NumberErrors(self.output_size)}

    def update(self, metrics: Mapping[str, Metric], outputs: Tensor, targets: Tensor) -> None:
        metrics["numbers"].update(outputs.flatten(0, -2).double(), targets.flatten(0, -2).double())

    def summarize(self, stage: str, values: dict[str, Tensor]) -> tuple[dict[str, Tensor], Report]:
        count, absolute, squared, r2 = values["numbers"].cpu().T
        mae, rmse = absolute * self.std, squared.sqrt() * self.std
        header = ["number", "mae", "rmse", "r2", "support"]
        rows: list[list[str | float]] = [
            [name, float(mae[i]), float(rmse[i]), float(r2[i]), int(count[i])]
            for i, name in enumerate(self.names)
        ]
        scalars = {"mae": mae.nanmean(), "rmse": rmse.nanmean(), "r2": r2.nanmean()}
        others = {name: value for name, value in values.items() if name != "numbers"}
        return {**others, **{k: v.to(values["numbers"]) for k, v in scalars.items()}}, Report(
            header, rows
        )

    def answers(self, outputs: Tensor) -> list[NumbersAnswer]:
        values = outputs.double().cpu() * self.std + self.mean
        return [NumbersAnswer(row) for row in values.tolist()]

    def columns(self, probabilities: bool) -> list[str]:
        return [f"prediction:{name}" for name in self.names]

    def cells(self, answer: NumbersAnswer, probabilities: bool) -> list[str | float]:
        return list(answer.values)


class NumberErrors(Metric):
    """Errors of each number, which the metrics of torchmetrics do not compute with missing targets.

    Args:
        size: Number of numbers, K.
    """

    sums: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(5, size, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Adds a batch.

        Args:
            outputs: Predicted numbers, standardized, (N, K) float64.
            targets: True numbers, standardized, (N, K) float64; NaN where they are missing.
        """
        known = ~targets.isnan()
        error = (outputs - targets).where(known, 0)
        targets = targets.where(known, 0)
        parts = (known.double(), error.abs(), error.square(), targets, targets.square())
        # Not in place: in a model of half precision, the initial zero has half precision, too.
        self.sums = self.sums.double() + torch.stack([part.sum(0) for part in parts])

    def compute(self) -> Tensor:
        """Returns a table, (K, 4) float64.

        The columns are the number of targets, the mean absolute error, the mean squared error, and
        the coefficient of determination (R2), which is NaN if all targets are equal.
        """
        count, absolute, squared, total, squares = self.sums
        spread = squares - total.square() / count
        r2 = torch.where(spread > 1e-12 * squares, 1 - squared / spread, torch.nan)
        return torch.stack((count, absolute / count, squared / count, r2), -1)
