"""The recurrence says what is wrong with its inputs."""

from typing import Any

import pytest
import torch
from torch import Tensor

from srulight.ops import sru

pytestmark = pytest.mark.usefixtures("device")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("u", torch.randn(2, 3, 12), "u must be 4-D"),
        ("u", torch.randn(2, 3, 5, 4), "3 or 4 gates, got 5"),
        ("skip", torch.randn(2, 9, 4), r"skip must have shape \(2, 3, 4\), got \(2, 9, 4\)"),
        ("v", torch.randn(2, 5), r"v must have shape \(2, 4\), got \(2, 5\)"),
        ("b", torch.randn(8), r"b must have shape \(2, 4\), got \(8\)"),
        ("c0", torch.randn(3, 4), r"c0 must have shape \(2, 4\), got \(3, 4\)"),
        ("lengths", torch.tensor([3, 2], dtype=torch.int32), "lengths has the wrong dtype"),
    ],
)
def test_says_what_is_wrong(name: str, value: Tensor, message: str, device: str) -> None:
    given: dict[str, Any] = {
        "u": torch.randn(2, 3, 3, 4),
        "skip": None,
        "v": None,
        "b": torch.zeros(2, 4),
    }
    with pytest.raises(RuntimeError, match=message):
        sru(**{**given, name: value.to(device)})


def test_refuses_more_real_steps_than_there_are(device: str) -> None:
    if device != "cpu":
        pytest.skip("the host does not wait to read lengths; the kernel asserts")
    with pytest.raises(RuntimeError, match="lengths must be 0 to 3, got 4"):
        sru(torch.randn(2, 3, 3, 4), None, None, torch.zeros(2, 4), lengths=torch.tensor([3, 4]))
