"""Each translated operator computes in ONNX Runtime what PyTorch computes."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.export.translation import OPERATORS
from srulight.runtime.errors import InputError
from tests.export.models import in_onnxruntime

# x: (B, T, 4); n: (B,) lengths of 1 to T
CASES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "arithmetic": lambda x, n: 2 - (x + 1) * x / 3 - x**2,
    "integers": lambda x, n: (n - 5) // 4 + n * 2,
    "integers and floats": lambda x, n: x * n.view(-1, 1, 1) + (n + 0.5).sum(),
    "size as a number": lambda x, n: x.sum(1) / x.size(1),
    "functions": lambda x, n: x.sin() + x.cos() + x.exp() + x.abs().sqrt() + (-x).tanh(),
    "compare": lambda x, n: (x > 0.3) & (x <= 1) | (x == 0) | ~(x < 2) & (n.view(-1, 1, 1) != 3),
    "where": lambda x, n: torch.where(x > 0, x, -1.0) + x.masked_fill(x < 0, 3.0),
    "clamp": lambda x, n: x.clamp(-0.5, 0.5) + x.clamp(min=0) + x.clamp_min(-1),
    "reduce": lambda x, n: x.sum(1) + x.mean((1,)) + x.amax(1, keepdim=True).squeeze(1),
    "softmax": lambda x, n: x.softmax(1) + x.log_softmax(-1),
    "shapes": lambda x, n: x.flatten(1).unflatten(1, (-1, 2)).transpose(1, 2).permute(2, 0, 1),
    "view of two sizes": lambda x, n: x.reshape(x.size(1), -1, 2, 2).mT,
    "cat and stack": lambda x, n: torch.stack((torch.cat((x, x[:, :1]), 1),) * 2, 1),
    "slices": lambda x, n: x[:, 1:-1, ::2] * x[:, -1:, 1:3],
    "slice to a size": lambda x, n: torch.cat((x, x), 1)[:, x.size(1) - 1 : x.size(1) + 1],
    "select and unbind": lambda x, n: x[:, -1] + x.unbind(2)[1][:, :1] + x.select(1, 0),
    "split and chunk": lambda x, n: x.split((1, 3), -1)[1][..., :2] + x.chunk(2, -1)[1],
    "gather": lambda x, n: x.gather(1, (n - 1).view(-1, 1, 1).expand(-1, 1, 4)),
    "index of two": lambda x, n: x[torch.arange(x.size(0)), n - 1],
    "index of one": lambda x, n: x[:, torch.arange(x.size(1) - 1).unsqueeze(1) + torch.arange(2)],
    "index_select": lambda x, n: x.index_select(2, torch.tensor([3, 0])),
    "arange": lambda x, n: torch.arange(2, x.size(1) + 2, 1, dtype=torch.float32) * 0.5,
    "new tensors": lambda x, n: x.new_zeros(x.size(0), 3) + x.new_full((1, 3), 2.5) + torch.ones(3),
    "expand and repeat": lambda x, n: x[:, :1].expand(-1, 3, -1).repeat(1, 2, 1),
    "repeat_interleave": lambda x, n: x.repeat_interleave(2, 1),
    "pad": lambda x, n: F.pad(x, (1, 0, 2, 3)),
    "unfold": lambda x, n: x.unfold(1, 2, 1) * x[:, :-1].unsqueeze(-1),
    "unfold by two": lambda x, n: x.unfold(1, 3, 2),
    "largest and its place": lambda x, n: torch.cat(
        (x.max(1)[0], x.max(-1, keepdim=True)[1].squeeze(-1).float().sum(1, keepdim=True)), 1
    ),
    "relu in place": lambda x, n: (x * 2).relu_(),
    "cumsum": lambda x, n: x.cumsum(1),
    "tril": lambda x, n: (x @ x.mT).tril(-1),
    "products": lambda x, n: (x @ x.mT) @ x,
    "attention": lambda x, n: F.scaled_dot_product_attention(
        x.unsqueeze(1), x.unsqueeze(1), x.unsqueeze(1),
        torch.arange(x.size(1)) < n.view(-1, 1, 1, 1),
    ),
    "causal attention": lambda x, n: F.scaled_dot_product_attention(
        x.unsqueeze(1), x.unsqueeze(1), x.unsqueeze(1), is_causal=True
    ),
    "double": lambda x, n: (x.double() / 3).float(),
}  # fmt: skip


class All(nn.Module):
    """Computes all cases, since to export a program takes longer than to run it."""

    def forward(self, x: Tensor, n: Tensor) -> tuple[Tensor, ...]:
        return tuple(case(x, n) for case in CASES.values())


class Layers(nn.Module):
    """Layers with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.linear = nn.Linear(4, 4)
        self.no_bias = nn.Linear(4, 3, bias=False)
        self.norm = nn.LayerNorm(4)
        self.convolution = nn.Conv1d(4, 2, 3, padding=1, stride=2, dilation=1)
        self.image = nn.Conv2d(1, 2, (3, 2), padding=(1, 0))
        self.batch = nn.BatchNorm2d(2)
        self.pool = nn.MaxPool2d(2)
        self.same = nn.Conv2d(1, 4, (3, 2), padding="same", dilation=(1, 2))
        self.groups = nn.GroupNorm(2, 4)
        self.bare = nn.GroupNorm(1, 4, affine=False)

    def forward(self, x: Tensor, n: Tensor) -> tuple[Tensor, ...]:
        image = self.batch(self.image(x.unsqueeze(1)))
        return (
            self.embedding(n % 7), self.norm(self.linear(x)), self.no_bias(self.linear(x[:, 0])),
            self.convolution(x.mT), self.pool(image), F.adaptive_avg_pool2d(image, 1),
            self.groups(self.same(x.unsqueeze(1))), self.bare(self.same(x.unsqueeze(1))),
        )  # fmt: skip


def example(sizes: dict[str, int]) -> tuple[Tensor, Tensor]:
    return torch.randn(sizes["B"], sizes["T"], 4), torch.arange(sizes["B"]) + 1


@pytest.mark.parametrize("module", [All, Layers])
def test_operators(module: type[nn.Module]) -> None:
    network = module().eval()
    if isinstance(network, Layers):
        for statistics in (network.batch.running_mean, network.batch.running_var):
            assert statistics is not None
            statistics += 0.5
        torch.nn.init.normal_(network.groups.weight)
        torch.nn.init.normal_(network.groups.bias)
    run = in_onnxruntime(network, example, {"x": ("B", "T", 4), "n": ("B",)})
    names = list(CASES) if module is All else [str(i) for i in range(8)]
    for batch, steps in ((1, 4), (4, 5), (2, 12)):
        x, n = torch.randn(batch, steps, 4), torch.randint(1, steps + 1, (batch,))
        with torch.no_grad():
            expected = network(x, n)
        for name, one, other in zip(names, run(x, n), expected, strict=True):
            assert one.shape == other.shape, name
            assert torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-5), name


def test_unknown_operator_is_refused_by_name() -> None:
    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.erfinv()

    assert "aten.erfinv" not in OPERATORS
    with pytest.raises(InputError, match=r"no translation of the operator aten\.erfinv\.default"):
        in_onnxruntime(Unknown(), lambda sizes: (torch.rand(sizes["B"]),), {"x": ("B",)})
