"""A callback that stores the first losses, to compare devices and precisions."""

import json
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer


class FirstLosses(Callback):
    """Writes the losses of the first batches to a file.

    Args:
        path: JSON file that receives a list of losses.
        steps: Number of batches whose losses are written.
    """

    def __init__(self, path: str, steps: int = 5) -> None:
        self.path = Path(path)
        self.steps = steps
        self._losses: list[float] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        *_: object,
    ) -> None:
        if len(self._losses) < self.steps:
            self._losses.append(float(outputs["loss"]))
            self.path.write_text(json.dumps(self._losses))
