"""The recurrence reports what is wrong with its inputs."""

from collections.abc import Callable
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
        (
            "lengths",
            torch.tensor([3, 2], dtype=torch.int32),
            "lengths must have dtype int64, got int32",
        ),
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
    with pytest.raises(RuntimeError, match=r"^lengths must be between 0 and 3, got 4$"):
        sru(torch.randn(2, 3, 3, 4), None, None, torch.zeros(2, 4), lengths=torch.tensor([3, 4]))


def backward_arguments() -> dict[str, Any]:
    """Draws arguments of the backward operator for two chunks of steps."""
    return {
        "u": torch.randn(2, 20, 3, 4),
        "skip": torch.randn(2, 20, 4),
        "v": torch.randn(2, 4),
        "b": torch.randn(2, 4),
        "mask": None,
        "lengths": None,
        "c": torch.randn(2, 2, 4),
        "grad_h": torch.randn(2, 20, 4),
        "grad_last": torch.randn(2, 4),
    }


@pytest.mark.parametrize("name", ["c", "grad_h", "grad_last"])
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:, :1],
        lambda t: t[:1],
        lambda t: t[..., :3],
        lambda t: t.unsqueeze(0),
        lambda t: t[:0],
        lambda t: t.new_zeros(()),
        lambda t: t.double(),
        lambda t: t.to(torch.bfloat16),
    ],
    ids=["second", "first", "last", "more", "none", "number", "double", "bfloat16"],
)
def test_backward_says_what_is_wrong(name: str, change: Callable[[Tensor], Tensor]) -> None:
    arguments = backward_arguments()
    torch.ops.srulight.sru_backward(*arguments.values(), 1.0, 0, False)
    arguments[name] = change(arguments[name])
    with pytest.raises(RuntimeError, match=rf"^{name} must have (shape|dtype) "):
        torch.ops.srulight.sru_backward(*arguments.values(), 1.0, 0, False)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.to("meta"), "must be on the device of"),
        (lambda t: t.to_sparse(), r"must be a dense tensor, got torch\.sparse_coo"),
        (lambda t: t.to_mkldnn(), r"must be a dense tensor, got torch\._mkldnn"),
    ],
    ids=["meta", "sparse", "mkldnn"],
)
def test_refuses_tensors_without_kernels(
    change: Callable[[Tensor], Tensor], sentence: str, device: str
) -> None:
    if device != "cpu":
        pytest.skip("on a GPU, torch refuses such tensors")
    arguments = backward_arguments()
    names = ("u", "skip", "v", "b")
    for name in names:
        given: dict[str, Any]
        given = {n: change(t) if n == name else t for n, t in arguments.items() if n in names}
        with pytest.raises(RuntimeError, match=sentence):
            sru(**given)
        with pytest.raises(RuntimeError, match=sentence):
            torch.ops.srulight.sru_backward(*{**arguments, **given}.values(), 1.0, 0, False)
    x = torch.randn(2, 1, 4)
    for name in ("x", "weight", "b"):
        step = {"x": x, "weight": torch.randn(12, 4), "skip": None, "v": None, "b": arguments["b"]}
        step[name] = change(step[name])
        with pytest.raises(RuntimeError, match=sentence):
            torch.ops.srulight.sru_step(*step.values(), None, 1.0, 0)


@pytest.mark.filterwarnings("ignore")  # torch announces that it will remove quantized tensors
def test_refuses_a_quantized_tensor(device: str) -> None:
    if device != "cpu":
        pytest.skip("on a GPU, torch refuses such tensors")
    u = torch.quantize_per_tensor(torch.randn(2, 3, 3, 4), 0.1, 0, torch.qint8)
    with pytest.raises(RuntimeError, match="u must be a dense tensor, got a quantized tensor"):
        sru(u, None, None, torch.zeros(2, 4))


def test_a_sentence_begins_with_the_argument() -> None:
    with pytest.raises(RuntimeError, match=r"^b must have shape \(2, 4\), got \(2, 5\)$"):
        sru(torch.randn(2, 3, 3, 4), None, None, torch.zeros(2, 5))


def test_refuses_none_in_place_of_a_tensor() -> None:
    for like in (torch.zeros(2, 4), torch.zeros(2, 4, device="meta")):
        with pytest.raises(RuntimeError, match=r"^u must be"):
            torch.ops.srulight.sru(None, None, None, like, None, None, None, 1.0, 0, False, False)
