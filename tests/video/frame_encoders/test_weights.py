"""Weights of frame encoders are read from files that may come from someone else."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.video.frame_encoders import ResNet, weights
from srulight.video.frame_encoders.weights import load_frame_weights


def network(channels: int = 3) -> ResNet:
    return ResNet(channels, 2, (1, 1), "batch")


def saved(folder: Path, found: Any) -> str:  # noqa: ANN401
    torch.save(found, folder / "weights.pt")
    return str(folder / "weights.pt")


@pytest.fixture
def trained() -> dict[str, Tensor]:
    torch.manual_seed(7)
    made = network()
    made(torch.randn(4, 3, 8, 8))  # changes the running statistics
    return made.state_dict()


def test_a_state_dict_with_a_classifier(tmp_path: Path, trained: dict[str, Tensor]) -> None:
    head = {"fc.weight": torch.zeros(5, 4), "fc.bias": torch.zeros(5)}
    own = network()
    load_frame_weights(own, saved(tmp_path, trained | head))
    for name, weight in own.state_dict().items():
        assert torch.equal(weight, trained[name])


def test_the_frame_encoder_of_a_checkpoint(tmp_path: Path, trained: dict[str, Tensor]) -> None:
    stored = {f"frame_encoder.{name}": weight for name, weight in trained.items()}
    own = network()
    load_frame_weights(own, saved(tmp_path, {"state_dict": stored | {"head.bias": torch.ones(2)}}))
    assert torch.equal(own.conv1.weight, trained["conv1.weight"])
    with pytest.raises(InputError, match="expected a checkpoint of a model with a frame encoder"):
        load_frame_weights(own, saved(tmp_path, {"state_dict": {"head.bias": torch.ones(2)}}))


def test_gray_frames_take_the_sum_over_colors(tmp_path: Path, trained: dict[str, Tensor]) -> None:
    gray, color = network(1).eval(), network().eval()
    path = saved(tmp_path, trained)
    load_frame_weights(gray, path)
    load_frame_weights(color, path)
    frames = torch.randn(2, 1, 9, 9)
    torch.testing.assert_close(gray(frames), color(frames.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"conv1.weight": None}, "a file that lacks conv1.weight; set --model.frames"),
        ({"layer9.x": torch.ones(1)}, r"a file that also has layer9\.x; set"),
        (
            {"bn1.bias": torch.ones(3), "bn1.weight": None},
            r"lacks bn1\.weight and has other shapes for bn1\.bias \(\(3,\) instead of \(2,\)\); s",
        ),
        ({"bn1.bias": torch.tensor([1.0, torch.nan])}, r"finite weights, got others in bn1\.bias"),
        ({"bn1.bias": "x"}, r"expected a tensor by the name of each weight, got str for 'bn1\.bi"),
        ({"bn1.bias": torch.eye(2).to_sparse()}, "expected dense weights, got torch.sparse_coo"),
    ],
)
def test_other_weights(
    tmp_path: Path, trained: dict[str, Tensor], change: dict[str, Any], says: str
) -> None:
    found = {name: w for name, w in (trained | change).items() if w is not None}
    with pytest.raises(InputError, match=says) as error:
        load_frame_weights(network(), saved(tmp_path, found))
    assert str(error.value).startswith(f"{tmp_path / 'weights.pt'}: ")


class Harmful:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:  # noqa: ANN401
        return exec, ("raise SystemExit",)


def test_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"there is no file nothing\.pt; correct --model\.frame"):
        load_frame_weights(network(), "nothing.pt")
    for content in ({"x": Harmful()}, [1, 2], torch.ones(2)):
        with pytest.raises(InputError, match="expected a state dict of torch, or a checkpoint, go"):
            load_frame_weights(network(), saved(tmp_path, content))
    path = tmp_path / "x.safetensors"
    path.write_text("x")
    monkeypatch.setattr(weights, "module_available", lambda name: False)
    with pytest.raises(InputError, match="needs safetensors; install it: pip install 'srulight"):
        load_frame_weights(network(), str(path))


def test_safetensors(tmp_path: Path, trained: dict[str, Tensor]) -> None:
    written = pytest.importorskip("safetensors.torch")
    written.save_file(trained, tmp_path / "x.safetensors")
    own = network()
    load_frame_weights(own, str(tmp_path / "x.safetensors"))
    assert torch.equal(own.conv1.weight, trained["conv1.weight"])
