"""The fused product and recurrence equals a product followed by the recurrence.

All factors are multiples of a quarter, so sums of products are exact in any order, and the results
must be equal to the bit. test_fused_levels.py runs these tests with the kernels of other
processors.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from srulight import SRU
from srulight.ops import extension, sru, sru_layer

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SIZES = [(1, 300, 33, 70), (3, 130, 64, 32), (5, 20, 7, 5), (9, 16, 256, 160), (40, 1, 48, 48)]
"""Sequences, steps, features and channels of one direction."""
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "skip": {"skip": True, "scale": 1.5},
    "fourth gate": {"planes": 4, "activation": "tanh"},
    "both directions": {"bidirectional": True, "lengths": True, "skip": True},
    "state and mask": {"c0": True, "mask": True, "lengths": True},
    "without peephole": {"peephole": False, "activation": "relu", "c0": True},
}


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    found: torch.dtype = request.param
    if not extension.fuses(found):
        pytest.skip(f"this processor does not fuse {found}")
    return found


def quarters(*sizes: int) -> Tensor:
    return torch.randint(-3, 4, sizes) / 4


def draw(
    dtype: torch.dtype,
    size: tuple[int, int, int, int],
    *,
    planes: int = 3,
    skip: bool = False,
    peephole: bool = True,
    c0: bool = False,
    mask: bool = False,
    lengths: bool = False,
    bidirectional: bool = False,
    scale: float = 1.0,
    activation: str = "identity",
) -> tuple[list[Any], dict[str, Any]]:
    """Draws the arguments of sru_layer."""
    torch.manual_seed(0)
    batch, steps, features, hidden = size
    channels = hidden * (2 if bidirectional else 1)
    real = torch.randint(0, steps + 1, (batch,))
    real[0] = steps
    arguments = [
        quarters(batch, steps, features).to(dtype),
        quarters(planes * channels, features).to(dtype),
        torch.randn(batch, steps, channels).to(dtype) if skip else None,
        torch.randn(2, channels) if peephole else None,
        torch.randn(2, channels),
        torch.randn(batch, channels) if c0 else None,
        torch.rand(batch, channels) if mask else None,
        real if lengths else None,
    ]
    options = {"scale": scale, "activation": activation, "bidirectional": bidirectional}
    return arguments, options


def gates(x: Tensor, weight: Tensor, b: Tensor) -> Tensor:
    return F.linear(x.float(), weight.float()).to(x.dtype).unflatten(-1, (-1, b.size(1)))


def positional(options: dict[str, Any]) -> tuple[float, int, bool]:
    activation = ["identity", "tanh", "relu"].index(options["activation"])
    return options["scale"], activation, options["bidirectional"]


def unfused(arguments: list[Any], options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    x, weight, skip, v, b, *rest = arguments
    u = gates(x, weight, b)
    h, last, _ = torch.ops.srulight.sru(u, skip, v, b, *rest, *positional(options), False, 0)
    return h, last


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", OPTIONS)
def test_equals_product_and_recurrence(
    dtype: torch.dtype, size: tuple[int, int, int, int], name: str
) -> None:
    arguments, options = draw(dtype, size, **OPTIONS[name])
    expected = unfused(arguments, options)
    with torch.no_grad(), torch.autograd.profiler.profile() as profile:
        got = sru_layer(*arguments, **options)
    assert all(map(torch.equal, got, expected))
    operators = {event.key for event in profile.key_averages()}
    assert operators & {"srulight::sru_fused", "srulight::sru_step"}
    assert "srulight::sru" not in operators


def test_any_strides(dtype: torch.dtype) -> None:
    arguments, options = draw(dtype, (4, 40, 24, 32), skip=True)
    expected = unfused(arguments, options)
    x, weight, skip = arguments[:3]
    arguments[0] = x.transpose(0, 1).contiguous().transpose(0, 1)
    arguments[1] = weight.t().contiguous().t()
    arguments[2] = torch.stack([skip, skip], 1)[:, 1]
    with torch.no_grad():
        assert all(map(torch.equal, sru_layer(*arguments, **options), expected))


def test_forced_chunks_of_time_need_the_product_of_all_steps(dtype: torch.dtype) -> None:
    arguments, options = draw(dtype, (1, 300, 24, 32))
    before = extension.chunk_counts()
    with torch.no_grad():
        got = sru_layer(*arguments, **options, time_parallel=True)
    assert extension.chunk_counts().since(before).passes > 0
    assert all(map(torch.equal, got, unfused(arguments, options)))


@pytest.mark.parametrize("batch", [1, 7])
def test_threads_do_not_change_results(dtype: torch.dtype, batch: int) -> None:
    torch.manual_seed(0)
    encoder = SRU(24, 80, num_layers=2, bidirectional=True).to(dtype)
    x = torch.randn(batch, 70, 24).to(dtype)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with torch.no_grad():
                found.append(encoder(x))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_changed_weight_counts(dtype: torch.dtype) -> None:
    arguments, options = draw(dtype, (1, 40, 24, 32))
    with torch.no_grad():
        sru_layer(*arguments, **options)
        arguments[1].data.mul_(-0.5)
        assert all(map(torch.equal, sru_layer(*arguments, **options), unfused(arguments, options)))


@pytest.mark.parametrize("size", [(0, 40, 8, 8), (40, 0, 8, 8), (2, 40, 0, 8)], ids=str)
def test_empty(dtype: torch.dtype, size: tuple[int, int, int, int]) -> None:
    arguments, options = draw(dtype, size, c0=True) if size[0] else draw(dtype, (1, 40, 8, 8))
    if not size[0]:
        arguments = [None if t is None else t[:0] for t in arguments[:1]] + arguments[1:]
    expected = unfused(arguments, options)
    with torch.no_grad():
        assert all(map(torch.equal, sru_layer(*arguments, **options), expected))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", OPTIONS)
def test_saves_what_the_backward_pass_needs(
    dtype: torch.dtype, size: tuple[int, int, int, int], name: str
) -> None:
    arguments, options = draw(dtype, size, **OPTIONS[name])
    x, weight, skip, v, b, *rest = arguments
    u = gates(x, weight, b)
    more = (*rest, *positional(options), True)
    expected = torch.ops.srulight.sru(u, skip, v, b, *more, 0)
    *got, saved = torch.ops.srulight.sru_fused(x, weight, skip, v, b, *more, -1)
    assert all(map(torch.equal, got, expected))
    lengths = [size[1]] * size[0] if rest[-1] is None else rest[-1].tolist()
    for own, other, steps in zip(saved, u, lengths, strict=True):
        assert torch.equal(own[:steps], other[:steps])


def test_gradients(dtype: torch.dtype) -> None:
    arguments, options = draw(dtype, (3, 40, 24, 32), skip=True, c0=True, lengths=True)
    leaves = [t.requires_grad_() for t in arguments if t is not None and t.is_floating_point()]
    weights = torch.randn(3, 40, 32)
    with torch.autograd.profiler.profile() as profile:
        h, last = sru_layer(*arguments, **options)
    assert "srulight::sru_fused" in {event.key for event in profile.key_averages()}
    got = torch.autograd.grad((h.float() * weights).sum() + last.sum(), leaves)
    x, weight, *rest = arguments
    h, last = sru(gates(x, weight, arguments[4]), *rest, **options)
    expected = torch.autograd.grad((h.float() * weights).sum() + last.sum(), leaves)
    error = 1e-5 if dtype == torch.float32 else 2e-2
    for own, other in zip(got, expected, strict=True):
        assert (own - other).norm() < error * other.norm()


@pytest.mark.parametrize("save", [False, True])
def test_passes_opcheck(dtype: torch.dtype, save: bool) -> None:
    arguments, _ = draw(dtype, (2, 20, 24, 32), skip=True)
    arguments += [1.0, 0, False, save, -1]
    torch.library.opcheck(torch.ops.srulight.sru_fused.default, tuple(arguments))
