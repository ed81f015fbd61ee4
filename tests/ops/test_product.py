"""Products of half types, which run in float32 on processors that are slow with halves."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from srulight import SRU
from srulight.ops import product

HALVES = (torch.bfloat16, torch.float16)
MULTIPLICATIONS = {"mm", "addmm", "bmm", "linear", "_linear_pointwise", "matmul", "mv", "addmv"}


class Multiplied(TorchDispatchMode):
    """Notes the dtypes of all factors of matrix products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(
        self,
        function: Any,  # noqa: ANN401
        _types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if function.overloadpacket.__name__ in MULTIPLICATIONS:
            self.dtypes |= {arg.dtype for arg in args if isinstance(arg, Tensor)}
        return function(*args, **(kwargs or {}))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "SLOW_TYPES", HALVES)


@pytest.fixture
def multiplied() -> Iterator[Multiplied]:
    with Multiplied() as found:
        yield found


def factors(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Returns a gradient, rows and a weight of small integers, whose products are exact."""
    torch.manual_seed(0)
    sizes = (40, 24), (40, 16), (24, 16)
    grad, x, weight = (torch.randint(-3, 4, each).to(dtype) for each in sizes)
    return grad, x, weight


def test_without_onednn_torch_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", None)  # its operators do not exist then
    assert product._slow_types() == ()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.usefixtures("slow")
def test_halves_are_multiplied_in_float32(dtype: torch.dtype, multiplied: Multiplied) -> None:
    grad, x, weight = factors(dtype)
    onto = torch.ones_like(x)
    found = [
        product.linear(x, weight),
        *product.backward_products(grad, x, weight),
        product.backward_products(grad, x, weight, onto=onto)[0],
        product.product(x, weight, onto[0, 0].expand(24)),
    ]
    assert multiplied.dtypes == {torch.float32}
    exact = [t.double() for t in (grad, x, weight)]
    expected = [exact[1] @ exact[2].T, exact[0] @ exact[2], exact[0].T @ exact[1]]
    expected += [expected[1] + 1, expected[0] + 1]
    for own, other in zip(found, expected, strict=True):
        assert own is not None
        assert own.dtype == dtype
        torch.testing.assert_close(own.double(), other, rtol=2**-8, atol=0)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.usefixtures("slow")
def test_other_types_stay(kind: torch.dtype, multiplied: Multiplied) -> None:
    _, x, weight = factors(kind)
    assert product.linear(x, weight).dtype == product.product(x, weight).dtype == kind
    assert multiplied.dtypes == {kind}


def test_fast_halves_stay(monkeypatch: pytest.MonkeyPatch, multiplied: Multiplied) -> None:
    monkeypatch.setattr(product, "SLOW_TYPES", ())
    grad, x, weight = factors(torch.bfloat16)
    product.linear(x, weight)
    product.product(x, weight)
    product.backward_products(grad, x, weight)
    assert multiplied.dtypes == {torch.bfloat16}


def layer(x: Tensor, _weight: Tensor) -> Tensor:
    output: Tensor = SRU(16, 24)(x.unsqueeze(0))[0]
    return output


@pytest.mark.parametrize("call", [product.product, layer])
@pytest.mark.usefixtures("slow")
def test_autocast(call: Callable[[Tensor, Tensor], Tensor], multiplied: Multiplied) -> None:
    _, x, weight = (t.requires_grad_() for t in factors(torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        y = call(x, weight)
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    assert multiplied.dtypes == {torch.float32}
    assert x.grad is not None
    assert x.grad.dtype == torch.float32


@pytest.mark.usefixtures("slow")
def test_compiled_products_too() -> None:
    calls: list[object] = []

    def backend(graph: Any, _inputs: object) -> Any:  # noqa: ANN401
        calls.extend(node.target for node in graph.graph.nodes)
        return graph.forward

    _, x, weight = factors(torch.bfloat16)
    compiled = torch.compile(product.product, backend=backend, fullgraph=True)
    found = compiled(x, weight)
    assert torch.equal(found, (x.double() @ weight.double().T).bfloat16())
    assert calls.count("float") == 2


@pytest.mark.usefixtures("slow")
def test_exported_products_stay() -> None:
    class Module(torch.nn.Module):
        def forward(self, x: Tensor, weight: Tensor) -> Tensor:
            return product.product(x, weight)

    _, x, weight = factors(torch.bfloat16)
    program = torch.export.export(Module(), (x, weight))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert targets == {"aten.linear.default"}
