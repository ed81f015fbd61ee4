"""Properties of the kernels that only a GPU can show. test_sru.py tests their results."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srulight import SRU
from srulight.ops import extension, sru

pytestmark = pytest.mark.cuda

SECOND = 2_000_000_000
"""Approximate number of clock cycles."""


@pytest.fixture(autouse=True)
def _kernels() -> None:
    assert extension.load("cuda"), extension.status


def training_step(encoder: nn.Module, x: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad(set_to_none=True)
    loss: Tensor = encoder(x).square().mean()
    loss.backward()
    optimizer.step()
    return loss


def gates(batch: int, steps: int, channels: int, **options: Any) -> Tensor:  # noqa: ANN401
    return torch.randn(batch, steps, 3, channels, device="cuda", **options)


def test_runs_on_the_current_stream_and_the_host_does_not_wait() -> None:
    u, b = gates(4, 30, 64), torch.randn(2, 64, device="cuda")
    expected = u.clone().requires_grad_()
    sru(expected, None, None, b)[0].sum().backward()
    late = torch.zeros_like(u).requires_grad_()
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(SECOND)
        late.data.copy_(u)
        sru(late, None, None, b)[0].sum().backward()
        assert not stream.query()
    stream.synchronize()
    assert late.grad is not None
    assert expected.grad is not None
    assert torch.equal(late.grad, expected.grad)


def test_two_runs_are_equal_to_the_last_bit() -> None:
    u, x = gates(32, 100, 512, dtype=torch.bfloat16), torch.randn(32, 100, 512, device="cuda")
    leaves = [u, x.bfloat16(), *torch.randn(2, 2, 512, device="cuda")]
    runs = []
    for _ in range(2):
        copies = [leaf.clone().requires_grad_() for leaf in leaves]
        h, last = sru(*copies)
        runs.append([h, last, *torch.autograd.grad([h.float().sum(), last.sum()], copies)])
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one, other)


def test_a_whole_training_step_is_captured() -> None:
    results = []
    for captured in (False, True):
        torch.manual_seed(0)
        encoder = SRU(64, 64).cuda()
        optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
        x = torch.randn(8, 40, 64, device="cuda")
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                training_step(encoder, x, optimizer)
        torch.cuda.current_stream().wait_stream(stream)
        step: Callable[[], object]
        if captured:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                training_step(encoder, x, optimizer)
            step = graph.replay
        else:

            def step(e: SRU = encoder, x: Tensor = x, o: Any = optimizer) -> object:  # noqa: ANN401
                return training_step(e, x, o)

        for _ in range(5):
            step()
        results.append(list(encoder.parameters()))
    torch.testing.assert_close(*results)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiles_whole(mode: str) -> None:
    encoder = SRU(64, 64, bidirectional=True).cuda()
    compiled = torch.compile(encoder, fullgraph=True, mode=mode)
    lengths = torch.tensor([40, 3, 17, 40], device="cuda")
    for _ in range(3):
        x = torch.randn(4, 40, 64, device="cuda")
        results = []
        for run in (compiled, encoder):
            y = run(x, lengths)
            gradients = torch.autograd.grad(y.square().sum(), list(encoder.parameters()))
            # The next run of a graph overwrites the result of this one.
            results.append([t.detach().clone() for t in (y, *gradients)])
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_stores_halves_and_casts_the_weights_alone(dtype: torch.dtype) -> None:
    encoder = SRU(64, 64, num_layers=3).cuda()
    x = torch.randn(4, 40, 64, device="cuda", dtype=dtype)
    with torch.autograd.profiler.profile() as profile, torch.autocast("cuda", dtype):
        y = encoder(x)
    assert y.dtype == dtype
    casts = {e.key: e.count for e in profile.key_averages()}.get("aten::_to_copy", 0)
    assert casts == 3


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_trains_in_mixed_precision(precision: str, tmp_path: Path) -> None:
    command = [sys.executable, "train.py", "fit", "--config", "configs/quickstart.yaml"]
    command += ["--trainer.accelerator=gpu", "--trainer.devices=1", "--trainer.max_epochs=8"]
    command += [f"--trainer.precision={precision}", f"--trainer.default_root_dir={tmp_path}"]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    best = (run.stdout + run.stderr).split("best val/accuracy: ")[1].split()[0]
    assert float(best) > 0.9


@pytest.mark.slow
def test_offsets_have_64_bits() -> None:
    channels, steps = 4096, 180_000  # u has 2.2e9 numbers
    u = gates(1, steps, channels, dtype=torch.bfloat16)
    b = torch.zeros(2, channels, device="cuda")
    with torch.no_grad():
        h, last = sru(u, None, None, b)
        _, c = sru(u[:, :-50], None, None, b)
        tail, tail_last = sru(u[:, -50:], None, None, b, c)
    torch.testing.assert_close(h[:, -50:], tail, rtol=0, atol=0)
    torch.testing.assert_close(last, tail_last, rtol=0, atol=0)


def test_says_which_tensor_is_elsewhere() -> None:
    with pytest.raises(RuntimeError, match="v must be on the device of u"):
        sru(gates(2, 3, 8), None, torch.zeros(2, 8), torch.zeros(2, 8, device="cuda"))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_runs_on_the_device_of_its_tensors() -> None:
    u = torch.randn(2, 9, 3, 8, device="cuda:1")
    h, _ = sru(u, None, None, torch.zeros(2, 8, device="cuda:1"))
    expected, _ = sru(u.to("cuda:0"), None, None, torch.zeros(2, 8, device="cuda:0"))
    assert torch.equal(h.cpu(), expected.cpu())


def test_stops_at_more_real_steps_than_there_are() -> None:
    code = (
        "import torch; from srulight.ops import sru; z = torch.zeros;"
        "sru(z(1, 3, 3, 4).cuda(), None, None, z(2, 4).cuda(), lengths=torch.tensor([4]).cuda());"
        "torch.cuda.synchronize()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode != 0
    assert "lengths must be between 0 and T" in run.stderr
