"""Properties of the residual CNN that other encoders do not share."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight import ResidualCNN
from srulight.encoders.residual_cnn import ResidualBlock


def blocks_of(encoder: ResidualCNN) -> list[ResidualBlock]:
    return [block for block in encoder.blocks if isinstance(block, ResidualBlock)]


def in_doubles(encoder: ResidualCNN) -> ResidualCNN:
    """Returns an encoder in evaluation mode with random values for all parameters."""
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.5)
    return encoder.double().eval()


@pytest.mark.parametrize(("layers", "kernel", "reach"), [(2, 1, 0), (2, 3, 2), (4, 5, 8)])
def test_a_step_sees_so_many_to_each_side(layers: int, kernel: int, reach: int) -> None:
    encoder = in_doubles(ResidualCNN(3, 16, layers, kernel_size=kernel))
    x = torch.randn(1, 21, 3, dtype=torch.float64, requires_grad=True)
    y = encoder(x)
    for step in (0, 10, 19):
        (gradient,) = torch.autograd.grad(y[0, step].square().sum(), x, retain_graph=True)
        seen = gradient[0].any(1).tolist()
        assert seen == [abs(other - step) <= reach for other in range(21)]


def test_equals_convolutions_of_torch_one_by_one() -> None:
    encoder = in_doubles(ResidualCNN(3, 8, 4, kernel_size=3))
    x = torch.randn(2, 7, 3, dtype=torch.float64)

    def normed(x: Tensor, norm: nn.Module) -> Tensor:
        assert isinstance(norm, nn.LayerNorm)
        scaled = (x - x.mean(2, True)) / (x.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
        return scaled * norm.weight + norm.bias

    expected = x @ encoder.projection.weight.T + encoder.projection.bias
    for block in blocks_of(encoder):
        y = expected
        for norm, convolution in zip(block.norms, block.convolutions, strict=True):
            assert isinstance(convolution, nn.Conv1d)
            given = normed(y, norm).clamp(min=0).transpose(1, 2)
            y = F.conv1d(given, convolution.weight, convolution.bias, padding=1).transpose(1, 2)
        expected = expected + y
    torch.testing.assert_close(encoder(x), normed(expected, encoder.norm))


def test_only_training_drops_what_blocks_add() -> None:
    encoder = ResidualCNN(3, 8, 2, dropout=1.0)
    x = torch.randn(2, 7, 3)
    bare = encoder.norm(encoder.projection(x))
    torch.testing.assert_close(encoder(x), bare)
    assert not torch.allclose(encoder.eval()(x), bare)


def test_has_as_many_convolutions_as_layers() -> None:
    encoder = ResidualCNN(40)
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv1d)]
    assert [tuple(c.weight.shape) for c in convolutions] == 10 * [(256, 256, 5)]


def test_learns_under_autocast() -> None:
    encoder = ResidualCNN(3, 8, 2)
    x, lengths = torch.randn(2, 7, 3), torch.tensor([7, 4])
    with torch.autocast("cpu", torch.bfloat16):
        y = encoder(x, lengths)
    y.float().square().sum().backward()
    torch.testing.assert_close(y[1, 4:], torch.zeros_like(y[1, 4:]))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"num_layers": 3}, "num_layers must be even and at least 2, got 3"),
        ({"num_layers": 0}, "num_layers must be even and at least 2, got 0"),
        ({"kernel_size": 4}, "kernel_size must be odd and at least 1, got 4"),
        ({"kernel_size": -1}, "kernel_size must be odd and at least 1, got -1"),
        ({"dropout": 1.5}, r"dropout must be 0 to 1, got 1\.5"),
    ],
)
def test_says_what_is_wrong(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResidualCNN(3, **options)
