"""The kernels match the reference, and the reference matches the paper."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from srulight.ops import extension, reference, sru

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
pytestmark = pytest.mark.usefixtures("device")

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no skip": {"skip": "none"},
    "fourth gate": {"skip": "gate"},
    "no peephole": {"peephole": False},
    "tanh": {"activation": "tanh"},
    "relu": {"activation": "relu", "skip": "gate"},
    "mask": {"mask": True},
    "initial state": {"initial": True},
    "lengths": {"lengths": True},
    "two ways": {"bidirectional": True},
    "all": {
        "activation": "tanh",
        "mask": True,
        "initial": True,
        "lengths": True,
        "bidirectional": True,
    },
    "all with fourth gate": {
        "skip": "gate",
        "mask": True,
        "initial": True,
        "lengths": True,
        "bidirectional": True,
    },
}


@pytest.fixture(autouse=True)
def _nan_in_fresh_memory() -> Iterator[None]:
    """Fills new memory with NaNs, so that places that a kernel leaves unwritten show."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def make(
    dtype: torch.dtype,
    batch: int = 3,
    steps: int = 37,  # two whole chunks between saved states, and a part of one
    channels: int = 38,  # whole vectors and a part of one, in one direction and in two
    *,
    skip: str = "input",
    peephole: bool = True,
    mask: bool = False,
    initial: bool = False,
    lengths: bool = False,
    activation: str = "identity",
    bidirectional: bool = False,
) -> list[Any]:
    """Draws the arguments of the operator, in its order."""
    accumulate = reference.wide(dtype)

    def leaf(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.randn(*shape, dtype=dtype, requires_grad=True)

    return [
        leaf(batch, steps, 4 if skip == "gate" else 3, channels),
        leaf(batch, steps, channels) if skip == "input" else None,
        leaf(2, channels, dtype=accumulate) if peephole else None,
        leaf(2, channels, dtype=accumulate),
        leaf(batch, channels, dtype=accumulate) if initial else None,
        torch.randint(0, 2, (batch, channels)).to(accumulate) * 2 if mask else None,
        torch.tensor([steps, max(steps // 2, 1), 1][:batch]) if lengths else None,
        1.3 if skip == "input" else 1.0,
        reference.ACTIVATIONS.index(activation),
        bidirectional,
        True,
    ]


def gradients(h: Tensor, last: Tensor, arguments: list[Any]) -> list[Tensor]:
    leaves = [a for a in arguments if isinstance(a, Tensor) and a.requires_grad]
    torch.manual_seed(1)
    seeds = [torch.randn(t.shape).to(t.dtype) for t in (h, last)]
    return list(torch.autograd.grad([h, last], leaves, seeds))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("channels", [38, 160], ids=["pieces", "whole vectors"])
def test_kernel_equals_reference(
    dtype: torch.dtype, options: dict[str, Any], channels: int, device: str
) -> None:
    assert extension.load(device), extension.status
    arguments = make(dtype, channels=channels, **options)
    h, last, c = torch.ops.srulight.sru(*arguments)
    expected_h, expected_last, expected_c = reference.sru(*arguments)
    close: dict[str, Any] = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(h, expected_h, **close)
    torch.testing.assert_close(last, expected_last, **close)
    torch.testing.assert_close(c, expected_c, **close)
    close = {"rtol": 5 * TOLERANCE[dtype], "atol": 5 * TOLERANCE[dtype]}
    for got, expected in zip(
        gradients(h, last, arguments),
        gradients(expected_h, expected_last, arguments),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, **close)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_reference_backward_is_the_derivative(options: dict[str, Any]) -> None:
    arguments = make(torch.float64, **options)
    h, last, c = reference.sru(*arguments)
    inputs = arguments[:7]
    seeds = [torch.randn_like(h), torch.randn_like(last)]
    got = reference.sru_backward(*[*inputs[:4], *inputs[5:], c.detach(), *seeds, *arguments[7:10]])
    leaves = [a for a in inputs if isinstance(a, Tensor) and a.requires_grad]
    expected = list(torch.autograd.grad([h, last], leaves, seeds))
    named = [got[0], got[1], got[2][:2], got[2][2:], got[3]]
    for wanted, leaf in zip(named, inputs[:5], strict=True):
        if leaf is not None:
            torch.testing.assert_close(wanted, expected.pop(0))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_gradcheck(options: dict[str, Any]) -> None:
    arguments = make(torch.float64, batch=2, steps=3, channels=4, **options)
    torch.use_deterministic_algorithms(False)
    assert torch.autograd.gradcheck(lambda *a: torch.ops.srulight.sru(*a)[:2], arguments)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_opcheck(options: dict[str, Any]) -> None:
    torch.library.opcheck(torch.ops.srulight.sru.default, tuple(make(torch.float32, **options)))


def test_one_channel_worked_by_hand() -> None:
    # One channel, two steps. u = candidate, forget, reset; v = 1, -1; b = 0, 0.5; x = 1, 2.
    u = torch.tensor([[1.0, 0.0, -0.5], [3.0, 1.0, 0.0]], dtype=torch.float64).reshape(1, 2, 3, 1)
    x = torch.tensor([1.0, 2.0], dtype=torch.float64).reshape(1, 2, 1)
    v = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    b = torch.tensor([[0.0], [0.5]], dtype=torch.float64)
    h, last = sru(u, x, v, b, scale=2.0)
    # Step 1: c0 = 0, f = sigmoid(0) = 1/2, r = sigmoid(-1/2 + 1/2) = 1/2,
    #         c1 = 1/2 * 1 = 1/2, h1 = 1/2 * 1/2 + 1/2 * 2 = 1.25.
    # Step 2: f = sigmoid(1 + 1/2), r = sigmoid(-1/2 + 1/2) = 1/2,
    #         c2 = f / 2 + (1 - f) * 3, h2 = c2 / 2 + 4 / 2.
    f = 1 / (1 + math.exp(-1.5))
    c2 = f / 2 + 3 * (1 - f)
    expected = torch.tensor([1.25, c2 / 2 + 2], dtype=torch.float64)
    torch.testing.assert_close(h.flatten(), expected)
    torch.testing.assert_close(last.item(), c2)


@pytest.mark.parametrize(
    ("batch", "steps", "channels"), [(2, 0, 4), (0, 3, 4), (1, 1, 1), (1, 5, 333)]
)
def test_odd_sizes(batch: int, steps: int, channels: int) -> None:
    arguments = make(torch.float32, batch, steps, channels, initial=True)
    h, last, _ = torch.ops.srulight.sru(*arguments)
    expected_h, expected_last, _ = reference.sru(*arguments)
    torch.testing.assert_close(h, expected_h, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(last, expected_last, rtol=2e-6, atol=2e-6)
    h.sum().backward()


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "two ways"])
def test_a_sequence_may_have_no_steps(bidirectional: bool) -> None:
    arguments = make(torch.float32, channels=64, initial=True, bidirectional=bidirectional)
    arguments[6] = torch.tensor([0, 37, 0])
    h, last, c = torch.ops.srulight.sru(*arguments)
    expected = reference.sru(*arguments)
    torch.testing.assert_close((h, last, c), expected)
    assert torch.equal(last[0], arguments[4][0])
    got, wanted = gradients(h, last, arguments), gradients(*expected[:2], arguments)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_inputs_may_lie_anywhere() -> None:
    u = torch.randn(7, 3, 10, 3)  # time first and gates innermost, as in the published package
    x = torch.randn(7, 3, 10)
    v, b = torch.randn(2, 10), torch.randn(2, 10)
    got = sru(u.permute(1, 0, 3, 2), x.transpose(0, 1), v, b)
    expected = sru(u.permute(1, 0, 3, 2).contiguous(), x.transpose(0, 1).contiguous(), v, b)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    # Contiguous channels, with steps and gates apart, need no copy.
    strided = torch.randn(3, 14, 6, 10)[:, ::2, ::2]
    got = sru(strided, None, v, b)
    torch.testing.assert_close(got, sru(strided.contiguous(), None, v, b), rtol=0, atol=0)
    # Wide rows of whole vectors that start within a vector, or are apart by a part of one.
    b = torch.randn(2, 64)
    for u in (torch.randn(3, 7, 3, 72)[..., 1:65], torch.randn(3, 7, 3, 66)[..., :64]):
        got = sru(u, None, None, b)
        torch.testing.assert_close(got, sru(u.contiguous(), None, None, b), rtol=0, atol=0)
    u = torch.randn(3, 7, 3, 64, requires_grad=True)
    h, _ = sru(u, None, None, b)
    for grad in (torch.randn(3, 7, 72)[..., 1:65], torch.randn(7, 3, 66).transpose(0, 1)[..., :64]):
        pair = [torch.autograd.grad(h, u, g, True) for g in (grad, grad.contiguous())]
        torch.testing.assert_close(*pair, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("batch", "bidirectional"), [(5, True), (1, False)], ids=["whole sequences", "cut channels"]
)
def test_number_of_threads_changes_nothing(batch: int, bidirectional: bool) -> None:
    arguments = make(torch.float32, batch=batch, channels=600, bidirectional=bidirectional)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        h, last, _ = torch.ops.srulight.sru(*arguments)
        results.append([h, last, *gradients(h, last, arguments)])
    torch.set_num_threads(before)
    for one, other in itertools.pairwise(results):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)


def test_extreme_inputs_stay_finite() -> None:
    u = torch.tensor([1e4, -1e4, 88.0, -88.0, 0.0]).repeat(1, 4, 3, 1).requires_grad_()
    h, last = sru(u, None, None, torch.zeros(2, 5), activation="tanh")
    h.sum().backward()
    assert u.grad is not None
    assert torch.isfinite(torch.cat((h.flatten(), last.flatten(), u.grad.flatten()))).all()


def test_nan_comes_through() -> None:
    u = torch.zeros(1, 3, 3, 20)
    u[0, 1, :, 7] = torch.nan
    h, _ = sru(u, None, None, torch.zeros(2, 20))
    assert h[0, 1:, 7].isnan().all()
    assert not h[0, 0].isnan().any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_stored_halves_are_rounded_to_the_nearest(dtype: torch.dtype) -> None:
    # With gates of 1, the output is the previous state.
    u = torch.tensor([0.0, 1e3, 1e3], dtype=dtype).reshape(1, 1, 3, 1).expand(1, 1, 3, 4003)
    c0 = torch.randn(1, 4003)
    c0[0, :2] = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8])  # ties in bfloat16
    c0.view(torch.int32)[0, 2] = 0x7FFFFFFF  # a NaN whose rounding must not overflow
    h, _ = sru(u, None, None, torch.zeros(2, 4003), c0)
    torch.testing.assert_close(h[:, 0], c0.to(dtype), rtol=0, atol=0, equal_nan=True)


def test_inference_allocates_its_outputs_alone(device: str) -> None:
    arguments = make(torch.float32, steps=300, channels=200)
    arguments[-1] = False
    extension.load(device)
    with torch.no_grad(), torch.autograd.profiler.profile(profile_memory=True) as profile:
        h, last, c = torch.ops.srulight.sru(*arguments)
    assert c.numel() == 0
    events = profile.key_averages()
    allocated = sum(e.self_cpu_memory_usage + e.self_device_memory_usage for e in events)
    assert allocated == h.nbytes + last.nbytes


def test_compiles_whole_with_dynamic_shapes() -> None:
    v, b = torch.randn(2, 4, requires_grad=True), torch.randn(2, 4)
    weight = torch.randn(12, 4)

    def layer(x: Tensor) -> Tensor:
        u = torch.nn.functional.linear(x, weight).unflatten(-1, (3, 4))
        return sru(u, x, v, b)[0].square().sum()

    torch.use_deterministic_algorithms(False)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch, steps in ((2, 5), (3, 8)):
        x = torch.randn(batch, steps, 4)
        got, expected = compiled(x), layer(x)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(torch.autograd.grad(got, v), torch.autograd.grad(expected, v))


def test_steps_are_no_operations_of_their_own() -> None:
    # A loop over time outside the kernel would run thousands of operations.
    with torch.autograd.profiler.profile() as profile:
        h, _ = sru(torch.randn(1, 4000, 3, 8, requires_grad=True), None, None, torch.zeros(2, 8))
        h.sum().backward()
    assert sum(e.count for e in profile.key_averages()) < 100
