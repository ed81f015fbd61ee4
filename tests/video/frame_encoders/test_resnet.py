"""ResNets have the shapes, the sizes and the names of weights that were published."""

from typing import Any

import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.video.frame_encoders import ResNet

PUBLISHED: dict[str, Any] = {"width": 64, "norm": "batch", "stem": "large"}


@pytest.mark.parametrize(
    ("blocks", "parameters"),
    # Those of torchvision's resnet18 and resnet34, less the classifier of 1000 classes.
    [((2, 2, 2, 2), 11_689_512 - 513_000), ((3, 4, 6, 3), 21_797_672 - 513_000)],
)
def test_published_sizes(blocks: tuple[int, ...], parameters: int) -> None:
    with torch.device("meta"):
        network = ResNet(3, blocks=blocks, **PUBLISHED)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert (network.input_size, network.output_size, network.stride) == (3, 512, 32)
    assert network(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 512, 7, 7)


def test_names_of_weights_are_those_of_torchvision() -> None:
    with torch.device("meta"):
        names = ResNet(3, **PUBLISHED).state_dict().keys()
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = ["conv1.weight", *(f"bn1.{part}" for part in norm)]
    for stage in range(1, 5):
        for block in range(2):
            place = f"layer{stage}.{block}"
            for i in (1, 2):
                expected += [f"{place}.conv{i}.weight", *(f"{place}.bn{i}.{p}" for p in norm)]
            if stage > 1 and block == 0:
                expected += [f"{place}.downsample.0.weight"]
                expected += [f"{place}.downsample.1.{part}" for part in norm]
    assert list(names) == expected


@pytest.mark.parametrize("stem", ["small", "large"])
@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 18), (1, 5)])
def test_maps_round_up(stem: Any, norm: Any, height: int, width: int) -> None:  # noqa: ANN401
    for blocks in ((1,), (1, 2, 1)):
        network = ResNet(1, 4, blocks, norm, stem).eval()
        assert network.stride == 2 ** (len(blocks) - 1) * (4 if stem == "large" else 1)
        assert network.output_size == 4 * 2 ** (len(blocks) - 1)
        expected = (
            3,
            network.output_size,
            -(-height // network.stride),
            -(-width // network.stride),
        )
        assert network(torch.randn(3, 1, height, width)).shape == expected


@pytest.mark.parametrize("zero_init", [False, True])
def test_values_of_a_network_of_identities(zero_init: bool) -> None:
    network = ResNet(1, 1, (1,), "batch", zero_init=zero_init).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data.zero_()[:, :, 1, 1] = 1
    frames = torch.tensor([[[[-1.0, 2.0], [0.5, -3.0]]]])
    # The stem and the first convolution keep positive values, and the shortcut adds them again.
    expected = frames.relu() * (1 if zero_init else 2)
    torch.testing.assert_close(network(frames), expected, rtol=1e-4, atol=1e-4)


def test_group_norm_sees_each_frame_alone() -> None:
    network = ResNet(3, 16, (1, 1))
    frames = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(network(frames)[1:2], network(frames[1:2]))
    groups = [m.num_groups for m in network.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert {*groups} == {2, 4}  # 8 channels each


@pytest.mark.parametrize("count", [0, 1])
def test_batches_without_a_variance(count: int) -> None:
    network = ResNet(1, 4, (1, 1), "batch")
    network(torch.ones(count, 1, 1, 1)).sum().backward()
    assert torch.equal(network.get_buffer("bn1.running_var"), torch.ones(4))
    assert all(p.grad is not None for p in network.parameters())
    assert all(buffer.isfinite().all() for buffer in network.buffers())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"blocks": ()}, r"blocks must be a list of numbers of at least 1, got \[\]"),
        ({"blocks": (2, 0)}, r"blocks must be a list of numbers of at least 1, got \[2, 0\]"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        ResNet(1, **options)
