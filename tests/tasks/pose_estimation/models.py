"""Small models of key points."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from srulight import LSTM, SRU, ConvLSTM, ConvSRU
from srulight.tasks.pose_estimation import HeatMapHead, PoseEstimation, RegressionHead
from srulight.video.frame_encoders import FrameEncoder

SIZE = 8
NAMES = ["nose", "left", "right"]


class TinyEncoder(FrameEncoder):
    """One convolution.

    Args:
        input_size: Number of channels of a frame.
    """

    output_size = 4
    stride = 2

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.conv = nn.Conv2d(input_size, 4, 3, 2, 1)

    def forward(self, frames: Tensor) -> Tensor:
        maps: Tensor = self.conv(frames).relu()
        return maps


ONLINE: dict[str, Any] = {
    "heat maps": partial(HeatMapHead, channels=4),
    "heat maps, ConvSRU": partial(
        HeatMapHead, encoder=partial(ConvSRU, hidden_size=6), channels=4, stages=2
    ),
    "heat maps, ConvLSTM": partial(
        HeatMapHead, encoder=partial(ConvLSTM, hidden_size=6), channels=4
    ),
    "regression": partial(RegressionHead, vector_size=6),
    "regression, SRU": partial(RegressionHead, encoder=partial(SRU, hidden_size=6), vector_size=5),
    "regression, LSTM": partial(
        RegressionHead, encoder=partial(LSTM, hidden_size=6), vector_size=5
    ),
}
OFFLINE: dict[str, Any] = {
    "regression, both ways": partial(
        RegressionHead, encoder=partial(SRU, hidden_size=6, bidirectional=True), vector_size=5
    ),
}
HEADS = {**ONLINE, **OFFLINE}


def metadata(unit: float | str = "box") -> dict[str, Any]:
    """Metadata of gray frames."""
    return {
        "frames": {
            "height": SIZE, "width": SIZE, "color": False, "step": 1, "mean": [100.0],
            "std": [50.0],
        },
        "points": {"names": NAMES, "pairs": [[1, 2]], "unit": unit},
    }  # fmt: skip


def make(head: Any, data: dict[str, Any] | None = None, **options: Any) -> PoseEstimation:  # noqa: ANN401
    """A model that has not been trained."""
    task = PoseEstimation(TinyEncoder, head=head, **options)
    task.metadata = data or metadata()
    task.build(task.metadata)
    return task.eval()
