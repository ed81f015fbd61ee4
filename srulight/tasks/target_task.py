"""The base class of tasks that predict a target for each sequence or each step."""

from abc import abstractmethod
from typing import Any, Literal

from lightning import LightningDataModule
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from srulight.runtime.errors import InputError
from srulight.targets import LossSettings, Target, build_target
from srulight.targets.build import KINDS
from srulight.tasks.base import Stage, Task


class TargetTask(Task):
    """Predicts one class, several labels or numbers for each sequence or each step.

    A subclass calls ``build_target`` in ``build_network``, and implements ``outputs``. Its data
    module has the attribute ``target_kind``, and its batches have the attribute ``targets``.

    Attributes:
        target: What the model predicts. Made by ``build_target``.
        loss_settings: Settings of the loss. Set by each task.
        chosen_monitor: Metric that selects the best checkpoint, such as "val/macro_f1"; None for
            the default of the target. Set by each task.
    """

    monitor = ("val/accuracy", "max")
    target: Target
    loss_settings: LossSettings
    chosen_monitor: str | None = None

    def build_target(self, metadata: dict[str, Any]) -> Target:
        """Makes and returns the target.

        Args:
            metadata: The ``metadata`` of the data module.
        """
        self.target = build_target(metadata["target"], self.loss_settings)
        return self.target

    @abstractmethod
    def outputs(self, batch: Any, stage: Stage | Literal["train"]) -> Tensor:  # noqa: ANN401
        """Computes the outputs of the network.

        Args:
            batch: A batch, whose ``targets`` are as ``Target.loss`` takes them.
            stage: "train", "val" or "test".

        Returns:
            Outputs, (B, K) or (B, T, K).
        """

    def loss(self, batch: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        return self.target.loss(self.outputs(batch, "train"), batch.targets)

    def new_metrics(self) -> dict[str, Metric]:
        return self.target.new_metrics()

    def measure(self, batch: Any, metrics: MetricCollection, stage: Stage) -> None:  # noqa: ANN401
        outputs = self.outputs(batch, stage)
        total, count = self.target.loss(outputs, batch.targets)
        metrics["loss"].update(total.double(), count)
        self.target.update(metrics, outputs, batch.targets)  # type: ignore[arg-type]

    def summarize(self, stage: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if stage == "train":
            return values
        values, self.report = self.target.summarize(stage, values)
        return values

    def monitored(self, data: LightningDataModule) -> tuple[str, str]:
        # The data module of another task is refused later, for the metadata that it lacks.
        scores = KINDS[getattr(data, "target_kind", "class")].scores
        chosen = self.chosen_monitor
        name = next(iter(scores)) if chosen is None else chosen.removeprefix("val/")
        if name not in scores:
            known = ", ".join(f"val/{score}" for score in scores)
            raise InputError(
                f"model.monitor must be one of {known} for this kind of target, got {chosen!r}"
            )
        return f"val/{name}", scores[name]
