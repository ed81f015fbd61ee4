"""Small models of videos, and videos for them."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srulight import CNN, GRU, LSTM, QRNN, SRU, ResidualCNN, SRUpp
from srulight.tasks.video_prediction.task import VideoPrediction
from srulight.video.frame_encoders import ResNet

TARGETS: dict[str, dict[str, Any]] = {
    "class": {"counts": [3, 2, 1]},
    "labels": {"counts": [3, 2, 1], "totals": [6, 6, 6]},
    "numbers": {"mean": [0.0, 100.0, 5.0], "std": [1.0, 10.0, 2.0]},
}
ONLINE: dict[str, Any] = {
    "SRU": partial(SRU, hidden_size=8),
    "LSTM": partial(LSTM, hidden_size=8),
    "GRU": partial(GRU, hidden_size=8),
    "QRNN": partial(QRNN, hidden_size=8, kernel_size=3),
    "SRUpp": partial(SRUpp, hidden_size=8, memory_size=4),
}
OFFLINE: dict[str, Any] = {
    "bidirectional SRU": partial(SRU, hidden_size=8, bidirectional=True),
    "CNN": partial(CNN, channels=8, widths=(3,)),
    "ResidualCNN": partial(ResidualCNN, channels=8, num_layers=2, dropout=0.0),
}
RESNET = partial(ResNet, width=4, blocks=(1, 1))


def metadata(
    kind: str = "class", per: str = "frame", color: bool = False, step: int = 1
) -> dict[str, Any]:
    """Metadata of videos of 8 x 10 pixels."""
    channels = 3 if color else 1
    return {
        "frames": {
            "height": 8, "width": 10, "color": color, "step": step,
            "mean": [100.0] * channels, "std": [50.0] * channels,
        },
        "target": {"kind": kind, "names": [*"abc"], "columns": [], **TARGETS[kind]},
        "per": per,
    }  # fmt: skip


def make(data: dict[str, Any] | None = None, **options: Any) -> VideoPrediction:  # noqa: ANN401
    """A model that has not been trained."""
    task = VideoPrediction(**{"frames": RESNET, "encoder": ONLINE["SRU"], **options})
    task.metadata = data or metadata()
    task.build(task.metadata)
    return task.eval()


def video(frames: int, *size: int, seed: int = 0) -> NDArray[np.uint8]:
    """Random frames, of 8 x 10 pixels unless another size is given."""
    rng = np.random.default_rng([seed, frames])
    return rng.integers(0, 256, (frames, *(size or (8, 10))), dtype=np.uint8)
