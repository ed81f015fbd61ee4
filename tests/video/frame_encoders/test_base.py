"""What frame encoders return is checked."""

import re

import pytest
import torch
from torch import Tensor, nn

from srulight.runtime.errors import InputError
from srulight.video.frame_encoders import FrameEncoder, frame_maps


class Pooled(FrameEncoder):
    """Halves the height and the width, rounded down."""

    input_size = output_size = 1
    stride = 2

    def forward(self, frames: Tensor) -> Tensor:
        return nn.functional.max_pool2d(frames, 2)


class Vectors(Pooled):
    """Returns a vector per frame, as networks for images do."""

    def forward(self, frames: Tensor) -> Tensor:
        return frames.mean((2, 3))


def test_maps_that_fit_are_passed_on() -> None:
    frames = torch.tensor([[[[1.0, 2, 5, 6], [3, 4, 7, 8]]]])
    assert frame_maps(Pooled(), frames).tolist() == [[[[4, 8]]]]


@pytest.mark.parametrize(
    ("encoder", "size", "wanted", "got"),
    [(Pooled(), (5, 6), (2, 1, 3, 3), (2, 1, 2, 3)), (Vectors(), (4, 6), (2, 1, 2, 3), (2, 1))],
    ids=["rounded_down", "vectors"],
)
def test_maps_of_another_shape_are_refused(
    encoder: FrameEncoder, size: tuple[int, int], wanted: tuple[int, ...], got: tuple[int, ...]
) -> None:
    said = f"{type(encoder).__name__}: expected maps of features of shape {wanted} for frames of "
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        frame_maps(encoder, torch.zeros(2, 1, *size))
    assert f"got {got}; correct its output_size (1) or stride (2)" in str(caught.value)
