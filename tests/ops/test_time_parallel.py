"""On a CPU, chunks of time have the results of the steps in order, to the bit."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from srulight import SRU, SRUpp
from srulight.ops import extension, reference, sru, sru_layer
from srulight.ops.extension import ChunkCounts, chunk_counts
from tests.ops.test_sru import OPTIONS, TOLERANCE, make

AUTO, NEVER, ALWAYS = -1, 0, 1
SEGMENT = 128
"""Chunks consist of this many steps, or multiples."""


@pytest.fixture(autouse=True)
def _kernels() -> None:
    assert extension.load("cpu"), extension.status


@pytest.fixture(autouse=True)
def _nan_in_fresh_memory() -> Iterator[None]:
    """Fills new memory with NaNs, so that places that a kernel leaves unwritten show."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Gives the kernels three threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def run(arguments: list[Any], choice: int, *, save: bool = True) -> tuple[Tensor, ...]:
    """Runs the forward pass and, if it saves, the backward pass."""
    u, skip, v, b, c0, mask, lengths, *options, _ = arguments
    outputs: tuple[Tensor, ...] = torch.ops.srulight.sru(
        u, skip, v, b, c0, mask, lengths, *options, save, choice
    )
    if not save:
        return outputs[:2]
    torch.manual_seed(2)
    grads = [torch.randn(t.shape).to(t.dtype) for t in outputs[:2]]
    with torch.no_grad():
        backward = torch.ops.srulight.sru_backward(
            u, skip, v, b, mask, lengths, outputs[2], *grads, *options, choice
        )
    return (*outputs, *backward)


def assert_same_bits(got: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert torch.equal(a.nan_to_num(7e7), b.nan_to_num(7e7)), i
        assert torch.equal(a.signbit(), b.signbit()), i


def counted(arguments: list[Any], choice: int, *, save: bool = True) -> ChunkCounts:
    """Checks the results of chunks against those of steps in order, and returns what was done."""
    expected = run(arguments, NEVER, save=save)
    before = chunk_counts()
    got = run(arguments, choice, save=save)
    done = chunk_counts().since(before)
    assert_same_bits(got, expected)
    return done


def sequence(steps: int, channels: int, *, v: float = 0.0, bias: float = 0.0) -> list[Any]:
    """Draws one sequence, with peephole weights between -v and v and a bias of the forget gate."""
    arguments = make(torch.float32, batch=1, steps=steps, channels=channels, initial=True)
    arguments[2] = (2 * torch.rand(2, channels) - 1) * v if v else None
    arguments[3] = torch.tensor([[bias], [0.0]]).expand(2, channels).contiguous()
    return arguments


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_option_has_the_same_bits(dtype: torch.dtype, options: dict[str, Any]) -> None:
    arguments = make(dtype, batch=2, steps=5 * SEGMENT - 7, channels=38, **options)
    if options.get("lengths"):
        arguments[6] = torch.tensor([5 * SEGMENT - 7, SEGMENT + 2])
    done = counted(arguments, ALWAYS)
    assert done.passes > 0
    assert_same_bits(run(arguments, ALWAYS, save=False), run(arguments, NEVER, save=False))


@pytest.mark.parametrize("options", [OPTIONS["plain"], OPTIONS["all"]], ids=["plain", "all"])
def test_chunks_equal_the_reference(options: dict[str, Any]) -> None:
    arguments = make(torch.float64, steps=2 * SEGMENT + 9, channels=6, **options)
    got = run(arguments, ALWAYS)
    expected = reference.sru(*arguments)
    u, skip, v, b, _, mask, lengths, *rest, _ = arguments
    torch.manual_seed(2)
    grads: list[Any] = [torch.randn(t.shape).to(t.dtype) for t in expected[:2]]
    inputs = [u, skip, v, b, mask, lengths, expected[2], *grads, *rest]
    expected = (*expected, *reference.sru_backward(*inputs))  # type: ignore[assignment]
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("steps", [0, 1, 2, 127, 128, 129, 255, 256, 257])
def test_short_sequences(steps: int) -> None:
    arguments = make(torch.float32, steps=steps, channels=20, **OPTIONS["all"])
    arguments[6] = torch.tensor([steps, steps // 2, 0])
    done = counted(arguments, ALWAYS)
    assert (done.passes > 0) == (steps > SEGMENT)


def test_rows_that_are_not_contiguous() -> None:
    arguments = make(torch.float32, steps=300, channels=40)
    with torch.no_grad():
        arguments[0] = torch.randn(3, 3, 2 * 300, 40)[:, :, ::2].transpose(1, 2)
        arguments[1] = torch.randn(300, 3, 40).transpose(0, 1)
    assert counted(arguments, ALWAYS).passes > 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("v", "bias"),
    [(1.2, 0.0), (1.2, 4.0), (30.0, 0.0), (30.0, 5.0), (0.0, 6.0), (0.0, 40.0), (5.0, -5.0)],
)
def test_weights_that_amplify_or_never_forget(v: float, bias: float, seed: int) -> None:
    torch.manual_seed(seed)
    arguments = sequence(1200, 56, v=v, bias=bias)
    for choice in (ALWAYS, AUTO):
        done = counted(arguments, choice)
        assert done.passes == 2  # forward and backward
        if v > 10 or bias > 3:
            assert done.repaired > 0
            assert done.repairs > 0


def test_usual_weights_need_no_repairs() -> None:
    done = counted(sequence(3000, 64, v=1.2), AUTO)
    assert done.chunks == 4
    assert done.repaired == done.repairs == 0
    assert 0 < done.warmup < 0.1 * done.numbers


def test_repairs_end_where_the_states_meet() -> None:
    # A forget gate of about 0.95 forgets a state, to the last bit, within some hundred steps.
    arguments = sequence(6000, 16, bias=3.0)
    done = counted(arguments, ALWAYS, save=False)
    assert done.repaired == done.chunks > 0
    assert 0 < done.repairs < 0.5 * done.numbers


def test_only_channels_that_differ_are_repaired() -> None:
    arguments = sequence(3000, 64, v=1.2)
    with torch.no_grad():
        arguments[2][0, 5], arguments[3][0, 5] = 0, 40  # its forget gate is always 1
    done = counted(arguments, AUTO, save=False)
    assert done.numbers == 3000 * 64
    assert 16 * 1000 <= done.repairs <= 16 * 2000


def test_sequences_that_never_forget_are_not_guessed() -> None:
    arguments = sequence(3000, 64, bias=40.0)
    counted(arguments, AUTO, save=False)
    done = counted(arguments, AUTO, save=False)  # where memory may hold what the first run left
    assert done.repaired == done.chunks == 2
    assert done.repairs >= 0.6 * done.numbers  # all but the first chunk, once
    assert done.warmup < 0.1 * done.numbers


@pytest.mark.parametrize("where", [100, 1900])
def test_a_state_that_is_not_a_number_stays_so(where: int) -> None:
    arguments = sequence(2000, 40, v=1.2)
    with torch.no_grad():
        arguments[0][0, where, 0, 3] = torch.nan
    counted(arguments, AUTO, save=False)
    h, last = run(arguments, AUTO, save=False)
    assert last.isnan().nonzero().tolist() == [[0, 3]]
    assert h[0, where:, 3].isnan().all()


@pytest.mark.parametrize(
    ("batch", "steps", "channels", "count", "divided"),
    [
        (1, 2000, 64, 2, True),
        (1, 2000, 64, 1, False),  # no thread is idle
        (2, 2000, 64, 2, False),
        (1, 2000, 512, 2, False),  # the channels are divided instead
        (1, 600, 64, 2, False),  # too short
        (1, 2000, 16, 2, False),  # too little work
        (2, 2000, 64, 3, True),
    ],
)
def test_sequences_are_divided_where_threads_would_be_idle(
    batch: int, steps: int, channels: int, count: int, divided: bool
) -> None:
    arguments = make(torch.float32, batch=batch, steps=steps, channels=channels)
    torch.set_num_threads(count)
    assert (counted(arguments, AUTO, save=False).passes > 0) == divided
    assert counted(arguments, NEVER, save=False).passes == 0
    assert counted(arguments, ALWAYS, save=False).passes > 0


def test_gradients_do_not_depend_on_threads() -> None:
    arguments = make(torch.float32, batch=1, steps=2000, channels=64)
    expected = run(arguments, AUTO)
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        assert_same_bits(run(arguments, AUTO), expected)


def test_the_choice_reaches_the_kernels() -> None:
    x = torch.randn(1, 500, 8)
    u = torch.randn(1, 500, 3, 8, requires_grad=True)
    b = torch.zeros(2, 8)
    weight = torch.randn(24, 8, requires_grad=True)
    for choice, passes in ((True, 2), (False, 0)):
        before = chunk_counts()
        sru(u, None, None, b, time_parallel=choice)[0].sum().backward()
        between = chunk_counts()
        sru_layer(x, weight, x, None, b, time_parallel=choice)[0].sum().backward()
        assert between.since(before).passes == passes
        assert chunk_counts().since(between).passes == passes
        for kind in (SRU, SRUpp):
            between = chunk_counts()
            kind(8, hidden_size=8, num_layers=1, time_parallel=choice)(x).sum().backward()
            assert chunk_counts().since(between).passes == passes


def test_an_exported_network_keeps_the_choice() -> None:
    encoder = SRU(8, hidden_size=8, num_layers=1, time_parallel=True).eval()
    x = torch.randn(1, 500, 8)
    program = torch.export.export(encoder, (x,)).module()
    before = chunk_counts()
    assert torch.equal(program(x), encoder(x))
    assert chunk_counts().since(before).passes == 2


def test_operators_are_consistent() -> None:
    arguments = [*make(torch.float32, batch=1, steps=300, channels=4), ALWAYS]
    torch.library.opcheck(torch.ops.srulight.sru.default, tuple(arguments))


@pytest.mark.parametrize("choice", ["always", None, 2])
def test_says_what_is_wrong(choice: Any) -> None:  # noqa: ANN401
    message = "time_parallel must be 'auto', True or False"
    with pytest.raises(ValueError, match=message):
        SRU(4, time_parallel=choice)
    with pytest.raises(ValueError, match=message):
        sru(torch.zeros(1, 1, 3, 4), None, None, torch.zeros(2, 4), time_parallel=choice)
    message = r"time_parallel must be -1 \(auto\), 0 \(never\) or 1 \(always\), got 2"
    with pytest.raises(RuntimeError, match=message):
        run(sequence(4, 4), 2)
