"""Exports pose estimation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from srulight.export.networks.base import Model, Shape, Sizes, Tensors
from srulight.export.networks.frames import FramesNetwork, encode_padded
from srulight.runtime.errors import InputError
from srulight.tasks.pose_estimation.corpora import SyntheticPoses
from srulight.tasks.pose_estimation.heads import HeatMapHead, RegressionHead
from srulight.tasks.pose_estimation.task import PoseEstimation


class _Network(nn.Module):
    def __init__(self, task: PoseEstimation) -> None:
        super().__init__()
        self.task = task
        self.has_maps = isinstance(task.head, HeatMapHead)

    def encode(self, frames: Tensor) -> Tensor:
        maps: Tensor = self.task.frame_encoder(self.task.standardize(frames))
        return maps

    def found(self, outputs: Tensor) -> Tensor:
        """Returns the heat maps of the last stage, (B, T, K, h, w), or points, (B, T, K, 2)."""
        return outputs[:, :, -1] if self.has_maps else self.task.head.decode(outputs).points


class _Whole(_Network):
    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return self.found(self.task.head(encode_padded(self.encode, frames, lengths), lengths))


class _Step(_Network):
    def forward(self, frames: Tensor, state: Tensor) -> Tensors:
        maps = self.encode(frames[:, 0]).unsqueeze(1)
        outputs, state = self.task.head.forward_with_state(maps, state)
        return self.found(outputs)[:, 0], state


class _Points(nn.Module):
    def __init__(self, head: HeatMapHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: Tensor) -> Tensors:
        points, scores = self.head.decode(maps.unsqueeze(2))
        return points, scores


class PoseNetwork(FramesNetwork[PoseEstimation]):
    """Key points of frames; for a head with heat maps, a model of its own finds their maxima."""

    def __init__(self, task: PoseEstimation) -> None:
        super().__init__(task)
        head = task.head
        if not isinstance(head, HeatMapHead | RegressionHead):
            raise InputError(
                "PoseEstimation can be exported with a HeatMapHead or a RegressionHead, got "
                f"{type(head).__name__}; choose one of them with --model.head"
            )
        self.head = head

    def whole(self) -> nn.Module:
        return _Whole(self.task)

    def step(self) -> nn.Module | None:
        return _Step(self.task) if self.head.is_online and self.head.encoder is not None else None

    @property
    def _places(self) -> tuple[int, int]:
        """Height and width of a map of features."""
        stride, (_, height, width) = self.task.frame_encoder.stride, self.shape
        return -(-height // stride), -(-width // stride)

    def state_size(self) -> tuple[int, int]:
        maps = torch.zeros(1, 1, self.task.frame_encoder.output_size, *self._places)
        with torch.no_grad():
            layers, _, width = self.head.forward_with_state(maps, None)[1].shape
        return layers, width

    def output(self) -> tuple[str, str, Shape]:
        count = len(self.task.names)
        if isinstance(self.head, HeatMapHead):
            return "maps", "a heat map of each key point", (count, *self._places)
        return "points", "x and y of each key point in pixels of the frame", (count, 2)

    def models(self) -> list[Model]:
        found = super().models()
        if not isinstance(self.head, HeatMapHead):
            return found
        size = (len(self.task.names), *self._places)

        def maps(sizes: Sizes) -> Tensors:
            return (torch.rand(sizes["batch"], sizes["frames"], *size),)

        return [
            *found,
            Model(
                "points", "from heat maps to x and y of their maxima in pixels of the frame, and "
                "to the scores of the points, 0 to 1",
                _Points(self.head), {"maps": ("batch", "frames", *size)},
                {"points": ("batch", "frames", size[0], 2), "scores": ("batch", "frames", size[0])},
                maps, {},
            ),
        ]  # fmt: skip

    def real(self, paths: Sequence[str]) -> dict[str, list[Tensors]]:
        found = super().real(paths)
        if isinstance(self.head, HeatMapHead):
            found["points"] = [super().models()[0].run(found["model"][0])]
        return found

    def corpus(self) -> SyntheticPoses:
        return SyntheticPoses(train_size=3, val_size=1, test_size=1, frames=20)

    def answer(self) -> str:
        head = "points = outputs\n"
        if isinstance(self.head, HeatMapHead):
            head = """session = onnxruntime.InferenceSession(FOLDER / "points.onnx")
points = session.run(["points"], {"maps": outputs[None]})[0][0]
"""
        return f"""{head}# From pixels of the frame that the model reads to those of the video.
scale = np.array([video.shape[2] / rules["width"], video.shape[1] / rules["height"]])
for own in points * scale:
    print(dict(zip(metadata["points"]["names"], own.round(2).tolist())))
"""
