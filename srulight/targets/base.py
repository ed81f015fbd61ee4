"""The interface of targets, and the settings of their losses."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from srulight.runtime.errors import InputError, check_range
from srulight.targets.report import Report

Kind = Literal["class", "labels", "numbers"]
"""One class, several labels at once, or numbers."""


@dataclass(frozen=True)
class LossSettings:
    """The loss that training minimizes.

    Args:
        weights: Weights in the loss: "none"; "balanced", which gives each class the same total
            weight over the training data, and the positive and the negative examples of each label
            the same total weight; or a mapping from names of classes to their weights, or from
            names of labels to the weights of their positive examples (1 for names left out). Does
            not apply to numbers.
        focal: Exponent of the focal loss (Lin et al. 2017, arXiv 1708.02002), at least 0, which
            reduces the weight of examples that the model already predicts well; 0 is the usual
            cross-entropy. Does not apply to numbers.
        smoothing: Label smoothing: share of the probability that is spread evenly over all classes,
            or over both values of each label, from 0 to below 1. Does not apply to numbers.
        numbers: Loss of numbers, which are standardized by the training data: "squared" or
            "absolute" error, or "huber", which is squared up to one standard deviation and
            absolute beyond.
    """

    weights: Literal["none", "balanced"] | dict[str, float] = "none"
    focal: float = 0.0
    smoothing: float = 0.0
    numbers: Literal["squared", "absolute", "huber"] = "squared"

    def __post_init__(self) -> None:
        check_range(0, focal=self.focal)
        check_range(0, 1, smoothing=self.smoothing)
        if self.smoothing == 1:
            raise InputError("smoothing must be below 1, got 1")
        if isinstance(self.weights, dict):
            for name in self.weights:
                if not isinstance(name, str):  # a YAML file may contain a number
                    raise InputError(
                        f"weights must have texts as names, got {name!r}; write it in quotes"
                    )
            check_range(0, **{f"weights.{name}": weight for name, weight in self.weights.items()})

    def given(self, names: Sequence[str], option: str = "model.loss.weights") -> list[float]:
        """Returns the weight of each name from a mapping, 1 for names that are left out.

        Args:
            names: Names of the classes or labels.
            option: Name of the option, for the error.

        Raises:
            InputError: If the mapping contains another name.
        """
        weights = self.weights if isinstance(self.weights, dict) else {}
        for name in weights:
            if name not in names:
                raise InputError(
                    f"{option} must name classes or labels of the data ({', '.join(names)}), got "
                    f"{name!r}"
                )
        return [weights.get(name, 1.0) for name in names]


class Target(nn.Module, ABC):
    """What a model predicts for a sequence or for a step.

    The outputs of a network and the targets have the same leading shape: (B,) for one answer per
    sequence, (B, T) for one answer per step. Missing targets, such as those of padded steps, count
    neither in the loss nor in the metrics.

    Args:
        names: Names of the classes, labels or numbers, in the order of the outputs.
        settings: Settings of the loss.
        balanced: Weights of the classes, or of the positive examples of the labels, that the
            setting "balanced" stands for; None if the target has no weights.

    Attributes:
        kind: The kind of target.
        scores: Names of the values that ``summarize`` returns, and whether the best value is the
            "max" or the "min"; the first one selects the best checkpoint by default.
        output_size: Number of outputs that the network needs per sequence or step, K.
        weights: Weight of each class, or of the positive examples of each label, (K,); None if all
            weights are 1.
        number_format: How a table shows the numbers among the ``cells``, as ``format`` takes it.
    """

    kind: ClassVar[Kind]
    scores: ClassVar[dict[str, Literal["min", "max"]]]
    number_format: ClassVar[str] = ".4f"

    weights: Tensor | None

    def __init__(
        self,
        names: Sequence[str],
        settings: LossSettings,
        balanced: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.names = list(names)
        self.output_size = len(self.names)
        self.settings = settings
        weights = None
        if balanced is not None and settings.weights != "none":
            chosen = balanced if settings.weights == "balanced" else settings.given(names)
            weights = torch.tensor(chosen)
        # The configuration determines the weights, so checkpoints need not contain them.
        self.register_buffer("weights", weights, persistent=False)

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the loss of a batch.

        Args:
            outputs: Outputs of the network, (..., K) floating point.
            targets: Targets, (...) int64 with -100 where a class is missing, or (..., K) float32
                with NaN where a label (0 or 1) or a number (standardized) is missing.

        Returns:
            The sum of the losses, and their number, int64.
        """

    @abstractmethod
    def new_metrics(self) -> dict[str, Metric]:
        """Makes the metrics of a validation or test, by name."""

    @abstractmethod
    def update(self, metrics: Mapping[str, Metric], outputs: Tensor, targets: Tensor) -> None:
        """Updates the metrics with a batch.

        Args:
            metrics: The metrics from ``new_metrics``.
            outputs: As for ``loss``.
            targets: As for ``loss``.
        """

    @abstractmethod
    def summarize(self, stage: str, values: dict[str, Tensor]) -> tuple[dict[str, Tensor], Report]:
        """Derives the values to log and the report from the metrics of an epoch.

        Args:
            stage: "val" or "test". Validation also chooses the thresholds of labels.
            values: Values of the metrics by name, computed over all processes, and ``loss``.

        Returns:
            The values to log, by name, all of them scalars; and the report.
        """

    @abstractmethod
    def answers(self, outputs: Tensor) -> list[Any]:
        """Returns the answers that a network gives.

        Args:
            outputs: Outputs of the network, (N, K).

        Returns:
            One named tuple per row.
        """

    @abstractmethod
    def columns(self, probabilities: bool) -> list[str]:
        """Returns the names of the columns that ``cells`` fills.

        Args:
            probabilities: Whether to add the probability of each class or label.
        """

    @abstractmethod
    def cells(self, answer: Any, probabilities: bool) -> list[str | float]:  # noqa: ANN401
        """Returns the contents of a row in a table of answers.

        Args:
            answer: An answer from ``answers``.
            probabilities: Whether to add the probability of each class or label.
        """
