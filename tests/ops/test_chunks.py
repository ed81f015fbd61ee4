"""The GPU's kernels that are parallel over chunks of time equal those that process steps in order.

These tests run on a GPU, and in test_emulated_gpu.py on an emulated one.
"""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from srulight.ops import extension, reference
from tests.ops.test_sru import OPTIONS, TOLERANCE, make

pytestmark = pytest.mark.usefixtures("device")

ROUNDS = 4
LAST = ROUNDS + 1
"""Number of the launch that corrects what is left, in order."""

Force = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _nan_in_fresh_memory() -> Iterator[None]:
    """Fills new memory with NaNs, so that places that a kernel leaves unwritten show."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def force(device: str) -> Iterator[Force]:
    """Returns a function that sets the plan, and returns what the kernels note about their work."""
    assert extension.load(device), extension.status
    path = extension.status[device].removeprefix("loaded from ").split(", for ")[0]
    function = getattr(ctypes.CDLL(path), "srulight_force_plan", None)
    if function is None:
        pytest.skip("the CPU's kernels process steps in order")
    kept = []

    def force(
        chunk: int, warmup: int = 0, rounds: int = ROUNDS, tolerance: float = 0.0, noted: int = 1
    ) -> Tensor:
        kept.append(torch.zeros(noted, dtype=torch.int32))
        tensor = ctypes.c_void_p(kept[-1].data_ptr() if noted > 1 else None)
        function(
            ctypes.c_int64(chunk), ctypes.c_int64(warmup), rounds, ctypes.c_float(tolerance), tensor
        )
        return kept[-1]

    yield force
    force(0)


def both(arguments: list[Any], *, save: bool = True) -> tuple[Tensor, ...]:
    """Runs the forward pass and, if it saves, the backward pass."""
    u, skip, v, b, c0, mask, lengths, *options, _ = arguments
    outputs: tuple[Tensor, ...] = torch.ops.srulight.sru(
        u, skip, v, b, c0, mask, lengths, *options, save
    )
    if not save:
        return outputs[:2]
    torch.manual_seed(2)
    grads = [torch.randn(t.shape).to(t.dtype) for t in outputs[:2]]
    with torch.no_grad():
        backward = torch.ops.srulight.sru_backward(
            u, skip, v, b, mask, lengths, outputs[2], *grads, *options
        )
    return (*outputs, *backward)


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(7e7), b.nan_to_num(7e7))


def compare(got: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float) -> None:
    """Compares results of ``both``: outputs bit for bit, gradients relative to the largest one."""
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        if i < 3:
            assert same_bits(a, b), i
        elif b.numel():
            size = b.abs().max().item()
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize(("chunk", "warmup", "channels"), [(16, 0, 38), (32, 16, 160)])
def test_chunks_equal_steps_in_order(
    force: Force,
    dtype: torch.dtype,
    options: dict[str, Any],
    chunk: int,
    warmup: int,
    channels: int,
) -> None:
    arguments = make(dtype, batch=4, steps=75, channels=channels, **options)
    if options.get("lengths"):
        arguments[6] = torch.tensor([0, 1, 75, 40])
    force(0)
    expected = both(arguments)
    force(chunk, warmup)
    got = both(arguments)
    compare(got, expected, 1e-4 if dtype == torch.float32 else TOLERANCE[dtype])
    assert all(map(same_bits, both(arguments, save=False), expected))
    close: dict[str, Any] = {"rtol": 5 * TOLERANCE[dtype], "atol": 5 * TOLERANCE[dtype]}
    for ours, theirs in zip(got[:3], reference.sru(*arguments), strict=True):
        torch.testing.assert_close(ours, theirs, **close)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_what_chunks_do_not_support_is_done_in_order(force: Force, dtype: torch.dtype) -> None:
    arguments = make(dtype, channels=38 if dtype == torch.float64 else 37)
    force(0)
    expected = both(arguments)
    noted = force(16, noted=1000)
    assert all(map(torch.equal, both(arguments), expected))
    assert not noted.any()


def weights(steps: int, channels: int, *, v: float, bias: float = 0.0) -> list[Any]:
    """Draws arguments with peephole weights between -v and v and a bias of the forget gate."""
    arguments = make(torch.float32, batch=1, steps=steps, channels=channels)
    arguments[2] = (2 * torch.rand(2, channels) - 1) * v if v else None
    arguments[3] = torch.tensor([[bias], [0.0]]).expand(2, channels).contiguous()
    return arguments


def test_steps_before_a_chunk_are_a_good_guess_at_usual_weights(force: Force) -> None:
    arguments = weights(400, 64, v=1.2)
    noted = force(128, 64, noted=LAST * 4 * 2 + 8)[: 6 * 4 * 2].view(6, 4, 2)
    torch.ops.srulight.sru(*arguments)
    assert noted[0].tolist() == [[128] * 2, [192] * 2, [192] * 2, [80] * 2]
    assert not noted[1:].any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rounds", [1, 4])
def test_states_that_diverge_are_corrected_in_order(force: Force, rounds: int, seed: int) -> None:
    torch.manual_seed(seed)
    arguments = weights(300, 64, v=30.0)
    force(0)
    expected = both(arguments, save=False)
    chunks, tiles = 19, 2
    noted = force(16, 0, rounds, noted=(rounds + 2) * chunks * tiles)
    assert all(map(torch.equal, both(arguments, save=False), expected))
    swept = noted.view(rounds + 2, chunks, tiles)
    assert (swept[1, 1:] > 0).all()
    assert swept[rounds + 1].any()  # more chunks wait than the rounds correct


def test_long_memory_is_corrected_in_one_round(force: Force) -> None:
    # Without peephole the correction is exact but for rounding, which the tolerance covers.
    arguments = weights(600, 32, v=0.0, bias=5.0)
    force(0)
    expected = both(arguments)
    noted = force(64, 16, tolerance=2.0**-20, noted=6 * 10)
    got = both(arguments)
    swept = noted.view(6, 10)
    assert (swept[1, 1:] > 0).all()
    assert not swept[2:].any()
    for a, b in zip(got, expected, strict=True):
        if b.numel():
            torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6 * b.abs().max().item())


def test_a_state_that_is_not_a_number_stays_so(force: Force) -> None:
    arguments = weights(100, 32, v=1.2)
    with torch.no_grad():
        arguments[0][0, 20, 0, 3] = torch.nan
    force(0)
    expected = both(arguments, save=False)
    force(16, 16)
    got = both(arguments, save=False)
    assert all(map(same_bits, got, expected))
    assert got[1].isnan().nonzero().tolist() == [[0, 3]]


@pytest.mark.parametrize(("batch", "steps", "chunked"), [(1, 4096, True), (1, 200, False)])
def test_long_sequences_with_few_channels_are_split(
    force: Force, batch: int, steps: int, chunked: bool
) -> None:
    arguments = make(torch.bfloat16, batch=batch, steps=steps, channels=64, skip="none")
    noted = force(-1, noted=100_000)
    torch.ops.srulight.sru(*arguments)
    assert noted.any() == chunked


@pytest.mark.parametrize("v", [1.2, 30.0], ids=["forgets", "diverges"])
def test_counters_equal_what_the_launches_note(force: Force, v: float) -> None:
    # 300 steps in chunks of 64 from guesses of 64 steps, and two tiles, of 32 and 6 channels.
    arguments = weights(300, 38, v=v)
    launches, chunks, widths = ROUNDS + 2, 5, torch.tensor([32, 6])
    noted = force(64, 64, noted=launches * chunks * 2)
    before = extension.chunk_counts()
    torch.ops.srulight.sru(*arguments)
    done = extension.chunk_counts().since(before)
    swept = noted.view(launches, chunks, 2)
    assert (done.passes, done.chunks, done.numbers) == (2, 2 * 4, 300 * 38)
    assert done.warmup == 4 * 64 * 38
    assert done.repaired == int((swept[1:] > 0).sum())
    assert done.repairs == int((swept[1:] * widths).sum())
    assert (done.repairs > 0) == (v > 2)


def test_callers_force_and_forbid_chunks(force: Force) -> None:
    arguments = make(torch.float32, batch=1, steps=300, channels=64)
    expected = both(arguments)
    u, skip, v, b, c0, mask, lengths, *options = arguments
    inputs = (u, skip, v, b, c0, mask, lengths, *options)
    noted = force(16, noted=6 * 19 * 2)
    torch.ops.srulight.sru(*inputs, 0)
    assert not noted.any()
    noted = force(0, noted=6 * 3 * 2)
    got = torch.ops.srulight.sru(*inputs, 1)
    assert noted.any()
    assert all(map(same_bits, got, expected))
    noted = force(0, noted=2 * 3 * 2)
    grads = [torch.ones_like(t) for t in got[:2]]
    with torch.no_grad():
        torch.ops.srulight.sru_backward(
            u, skip, v, b, mask, lengths, got[2], *grads, *options[:3], 1
        )
    assert noted.any()
