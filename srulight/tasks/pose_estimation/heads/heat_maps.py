"""Key points as the maxima of heat maps."""

import math

import torch
from torch import Tensor, nn

from srulight.encoders.map_base import MapEncoderFactory
from srulight.runtime.errors import check_range
from srulight.tasks.pose_estimation.heads.base import (
    HeadSizes,
    Points,
    PoseHead,
    known_points,
    stateless,
    widened,
)
from srulight.tasks.pose_estimation.heads.gaussians import gaussians, peaks

_KERNEL = 5  # Height and width of the kernels of later stages, which must see other points.


class HeatMapHead(PoseHead):
    """Predicts a heat map for each key point, whose maximum shows where the point is.

    The target of a map is a Gaussian around the point. The loss is the squared error, summed over
    the map and divided by the sum of the squares of a whole Gaussian, so that empty maps have a
    loss of about 1. A point lies at the maximum of its map, found more precisely than to a place of
    the map; its score is the value of the map there.

    With several stages, each later stage reads the features and the maps of the stage before, and
    each stage has a loss of its own, as in Convolutional Pose Machines (Wei et al. 2016, arXiv
    1602.00134) and LSTM Pose Machines (Luo et al. 2018, arXiv 1712.06316). The stages share one map
    encoder, which reads the features of the frames over time.

    Args:
        sizes: Sizes of the inputs and outputs.
        encoder: Builds the encoder of the maps over time, such as ConvSRU or ConvLSTM; if None,
            each frame is predicted alone.
        stages: Number of stages, at least 1.
        channels: Number of channels of the convolutions of each stage.
        sigma: Standard deviation of a Gaussian in pixels of the frame; if None, the stride of the
            frame encoder.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(
        self,
        sizes: HeadSizes,
        encoder: MapEncoderFactory | None = None,
        stages: int = 1,
        channels: int = 32,
        sigma: float | None = None,
    ) -> None:
        super().__init__()
        check_range(1, stages=stages, channels=channels)
        check_range(0.01, sigma=sigma)
        self.is_online = True
        self.stride = sizes.stride
        self.sigma = (sizes.stride if sigma is None else sigma) / sizes.stride  # in places
        self.encoder = None if encoder is None else encoder(sizes.features)
        size = sizes.features if self.encoder is None else self.encoder.output_size
        points = sizes.points
        self.stages = nn.ModuleList(
            _first_stage(size, channels, points)
            if i == 0
            else _later_stage(size + points, channels, points)
            for i in range(stages)
        )

    def forward(self, maps: Tensor, lengths: Tensor) -> Tensor:
        """Computes the heat maps of all stages, (B, T, stages, K, h, w); see the base class."""
        return self._heat(maps if self.encoder is None else self.encoder(maps, lengths))

    def forward_with_state(self, maps: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.encoder is None:
            return self._heat(maps), stateless(maps)
        encoded, after = self.encoder.forward_with_state(maps, state)
        return self._heat(encoded), after

    def _heat(self, encoded: Tensor) -> Tensor:
        frames = encoded.flatten(0, 1)
        heat: list[Tensor] = []
        for stage in self.stages:
            inputs = frames if not heat else torch.cat((frames, heat[-1].to(frames)), 1)
            heat.append(stage(inputs))
        return torch.stack(heat, 1).unflatten(0, encoded.shape[:2])

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        known, points = known_points(targets)
        wanted = gaussians(points / self.stride, (outputs.size(-2), outputs.size(-1)), self.sigma)
        errors = (widened(outputs) - wanted.unsqueeze(2)).square().sum((-2, -1))
        # The integral of the square of a Gaussian is pi times its variance.
        losses = errors.mean(2) / (math.pi * self.sigma**2)
        return losses.where(known, 0).sum(), known.sum()

    def decode(self, outputs: Tensor) -> Points:
        points, values = peaks(outputs[:, :, -1].float())
        return Points(points * self.stride, values.clamp(0, 1))


def _first_stage(size: int, channels: int, points: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(size, channels, 3, padding="same"),
        nn.ReLU(),
        nn.Conv2d(channels, points, 1),
    )


def _later_stage(size: int, channels: int, points: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(size, channels, _KERNEL, padding="same"),
        nn.ReLU(),
        nn.Conv2d(channels, channels, _KERNEL, padding="same"),
        nn.ReLU(),
        nn.Conv2d(channels, points, 1),
    )
