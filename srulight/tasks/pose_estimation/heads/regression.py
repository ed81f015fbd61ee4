"""Key points as numbers."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders import EncoderFactory, Recurrent
from srulight.encoders.base import build_encoder, directions
from srulight.runtime.errors import check_range
from srulight.tasks.pose_estimation.heads.base import (
    HeadSizes,
    Points,
    PoseHead,
    known_points,
    stateless,
    widened,
)

Error = Literal["absolute", "squared", "huber"]
_HUBER = 0.02  # Error, as a share of the frame, from which on the Huber loss is linear.


class RegressionHead(PoseHead):
    """Predicts the coordinates of the key points from a vector for each frame.

    A linear layer maps the whole map of features of a frame to a vector. An encoder reads the
    vectors over time, and a linear layer maps its output to the coordinates. Such a head can follow
    points that are hidden, because its vector describes the whole frame and its motion.

    Args:
        sizes: Sizes of the inputs and outputs.
        encoder: Builds the encoder of the vectors over time, such as SRU or LSTM; if None, each
            frame is predicted alone.
        vector_size: Number of features of the vector of a frame.
        error: Error of a coordinate that training minimizes, as a share of the width or the height
            of the frame: "absolute", "squared", or "huber", which is squared up to 0.02 and
            absolute beyond.

    Raises:
        InputError: If ``vector_size`` is below 1.
    """

    def __init__(
        self,
        sizes: HeadSizes,
        encoder: EncoderFactory | None = None,
        vector_size: int = 128,
        error: Error = "absolute",
    ) -> None:
        super().__init__()
        check_range(1, vector_size=vector_size)
        self.error = error
        self.frame_size = (sizes.width, sizes.height)
        height, width = sizes.places
        self.vectors = nn.Linear(sizes.features * height * width, vector_size)
        self.encoder = None if encoder is None else build_encoder(encoder, vector_size)
        self.is_online = self.encoder is None or directions(self.encoder) == 1
        size = vector_size if self.encoder is None else self.encoder.output_size
        self.coordinates = nn.Linear(size, 2 * sizes.points)
        nn.init.constant_(self.coordinates.bias, 0.5)  # the center of the frame

    def forward(self, maps: Tensor, lengths: Tensor) -> Tensor:
        """Computes x and y as shares of the frame, (B, T, K, 2); see the base class."""
        vectors = self._vectors(maps)
        encoded = vectors if self.encoder is None else self.encoder(vectors, lengths)
        return self._shares(encoded)

    def forward_with_state(self, maps: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        vectors = self._vectors(maps)
        if self.encoder is None:
            return self._shares(vectors), stateless(maps)
        assert isinstance(self.encoder, Recurrent)
        encoded, after = self.encoder.forward_with_state(vectors, state)
        return self._shares(encoded), after

    def _vectors(self, maps: Tensor) -> Tensor:
        vectors: Tensor = self.vectors(maps.flatten(2)).relu()
        return vectors

    def _shares(self, encoded: Tensor) -> Tensor:
        shares: Tensor = self.coordinates(encoded)
        return shares.unflatten(-1, (-1, 2))

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        known, points = known_points(targets)
        outputs = widened(outputs)
        shares = (points / points.new_tensor(self.frame_size)).to(outputs)
        if self.error == "huber":
            errors = F.huber_loss(outputs, shares, reduction="none", delta=_HUBER)
        elif self.error == "squared":
            errors = F.mse_loss(outputs, shares, reduction="none")
        else:
            errors = F.l1_loss(outputs, shares, reduction="none")
        return errors.mean(-1).where(known, 0).sum(), known.sum()

    def decode(self, outputs: Tensor) -> Points:
        points = outputs.float() * torch.tensor(self.frame_size, device=outputs.device)
        return Points(points, torch.full_like(points[..., 0], torch.nan))
