"""The layers that the benchmarks compare, and functions that time them."""

import statistics
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders.sru import SRU
from srulight.encoders.srupp import SRUpp
from srulight.ops.product import linear

FLOORS = ("F.linear", "products")
CONVOLUTIONS = {"Conv1d": 3, "Conv1d k=2": 2}
MEMORIES = {"SRU++": 2**20, "SRU++ band": 256}
"""Number of earlier steps that attention sees: practically all, or a band."""

HEAD = 64
"""Features per attention head."""
AHEAD = 2_000_000
"""Clock cycles that the GPU sleeps before each run, so that the host can queue the run."""

Run = Callable[[], object]


def time_on_cpu(run: Run) -> float:
    """Returns the seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def time_on_gpu(run: Run) -> float:
    """Returns the seconds that the GPU takes for one run, without waiting for the host."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(AHEAD)
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def medians(runs: dict[str, Run], seconds: float, device: str = "cpu") -> dict[str, float]:
    """Times contenders, which take turns.

    Args:
        runs: Functions that run each contender once.
        seconds: Approximate duration of the measurement, in seconds. Each contender gets at least
            five turns.
        device: Device type that the contenders run on.

    Returns:
        Median time of each contender, in seconds.
    """
    time_one = time_on_gpu if device == "cuda" else time_on_cpu
    for run in runs.values():
        run()
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(runs))]) < 5:
        for name, run in runs.items():
            times[name].append(time_one(run))
    return {name: statistics.median(values) for name, values in times.items()}


class Products(torch.autograd.Function):
    """The matrix products of an SRU layer, forward and backward, and nothing else."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x, weight)
        return linear(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        rows = grad.view(-1, weight.size(0))
        return linear(rows, weight.t()).view_as(x), rows.t() @ x.reshape(-1, x.size(2))


class Floor(nn.Module):
    """A layer that computes only the matrix product of an SRU layer.

    Args:
        size: Number of features of the input and of the output.
        own: Whether to compute the product as the SRU layer does, not by ``F.linear``.
    """

    def __init__(self, size: int, own: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * size, size) / size**0.5)
        self.own = own

    def forward(self, x: Tensor) -> Tensor:
        if self.own:
            return Products.apply(x, self.weight.to(x.dtype))  # type: ignore[no-untyped-call]
        return F.linear(x, self.weight)


class Attention(nn.Module):
    """Causal attention of a Transformer layer: both projections, and heads of 64 features."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inward = nn.Linear(size, 3 * size, bias=False)
        self.outward = nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        heads = max(1, x.size(2) // HEAD)
        q, k, v = self.inward(x).unflatten(-1, (3, heads, -1)).transpose(1, 3).unbind(2)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, T, F)
        return self.outward(attended.transpose(1, 2).flatten(2))


def contender(name: str, size: int) -> nn.Module:
    """Creates a layer of equal input and output size.

    All are batch first, except ``sru2.6`` and Conv1d. ``SRU++`` and ``attention`` attend to all
    earlier steps, ``SRU++ band`` to 256 of them.
    """
    if name in FLOORS:
        return Floor(size, own=name == "products")
    if name == "SRU":
        return SRU(size, size, num_layers=1)
    if name in CONVOLUTIONS:
        return nn.Conv1d(size, size, CONVOLUTIONS[name], padding=1)
    if name == "attention":
        return Attention(size)
    if name in MEMORIES:
        return SRUpp(size, size, num_layers=1, memory_size=MEMORIES[name])
    if name == "sru2.6":
        import sru  # compiles its kernel when it is first imported, in half a minute

        return sru.SRU(size, size, num_layers=1)
    return {"LSTM": nn.LSTM, "GRU": nn.GRU}[name](size, size, batch_first=True)


def inputs(name: str, sizes: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Creates an input in the layout that the contender expects."""
    steps, batch, size = sizes
    shape = (steps, batch, size) if name == "sru2.6" else (batch, steps, size)
    if name in CONVOLUTIONS:
        shape = (batch, size, steps)
    return torch.randn(shape, dtype=dtype)


def layer_runs(
    names: tuple[str, ...],
    sizes: tuple[int, int, int],
    dtype: torch.dtype,
    *,
    backward: bool,
    device: str = "cpu",
    copies: int = 1,
) -> dict[str, Run]:
    """Creates a function for each contender that runs it once.

    Args:
        names: Names of the contenders.
        sizes: Steps T, sequences B and features d.
        dtype: Dtype of the inputs. With half types, the layers run under autocast and their weights
            are float32.
        backward: Whether to run the backward pass as well.
        device: Device type to run on.
        copies: Number of inputs that take turns, so that the last run leaves none in the cache.

    Returns:
        Functions by the names of the contenders, without those that cannot run.
    """
    runs: dict[str, Run] = {}
    half = dtype if dtype.itemsize == 2 else torch.bfloat16
    autocast = torch.autocast(device, half, enabled=dtype.itemsize == 2)
    for name in names:
        # On a CPU, training with the published package takes quadratic time.
        slow = device == "cpu" and backward and sizes[0] > 256
        if name == "sru2.6" and (dtype != torch.float32 or slow):
            continue
        layer = contender(name, sizes[2]).to(device)
        xs = [inputs(name, sizes, dtype).to(device).requires_grad_(backward) for _ in range(copies)]
        with torch.no_grad(), autocast:
            out = layer(xs[0])
        grads = [torch.randn_like(out if isinstance(out, Tensor) else out[0]) for _ in xs]
        pairs = cycle(zip(xs, grads, strict=True))

        def run(layer: nn.Module = layer, pairs: Any = pairs) -> None:  # noqa: ANN401
            x, grad = next(pairs)
            with torch.set_grad_enabled(backward), autocast:
                out = layer(x)
            if backward:
                (out if isinstance(out, Tensor) else out[0]).backward(grad)
                layer.zero_grad()
                x.grad = None

        runs[name] = run
    return runs
