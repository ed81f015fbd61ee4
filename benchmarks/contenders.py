"""The layers that benchmarks compare, and how they are timed."""

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
"""Steps that attention looks back on: as many as there are, and a band."""

HEAD = 64
"""Features of an attention head."""
AHEAD = 2_000_000
"""Clock cycles that a GPU sleeps before each run, so that the host is ahead of it."""

Run = Callable[[], object]


def time_on_cpu(run: Run) -> float:
    """Gives the seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def time_on_gpu(run: Run) -> float:
    """Gives the seconds that a GPU takes for one run, without those it waits for the host."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(AHEAD)
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def medians(runs: dict[str, Run], seconds: float, device: str = "cpu") -> dict[str, float]:
    """Lets the contenders take turns for about so many seconds, five turns at least.

    Returns:
        Median seconds of each.
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
    """The products of an SRU layer and of its backward, and nothing else."""

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
    """The weight of an SRU layer, and its product with all steps at once."""

    def __init__(self, size: int, own: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * size, size) / size**0.5)
        self.own = own

    def forward(self, x: Tensor) -> Tensor:
        if self.own:
            return Products.apply(x, self.weight.to(x.dtype))  # type: ignore[no-untyped-call]
        return F.linear(x, self.weight)


class Attention(nn.Module):
    """Causal attention of a Transformer layer: maps in and out, heads of 64 features between."""

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
    """Makes a layer of equal input and output size, batch first but for ``sru2.6`` and Conv1d.

    ``SRU++`` attends to all steps before, ``SRU++ band`` to 256, ``attention`` to all.
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
        import sru  # compiles its kernel at import, half a minute at the first

        return sru.SRU(size, size, num_layers=1)
    return {"LSTM": nn.LSTM, "GRU": nn.GRU}[name](size, size, batch_first=True)


def inputs(name: str, sizes: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Makes an input in the layout that the contender likes best."""
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
    """Makes one function a contender that runs it once, with or without backward.

    Args:
        names: Contenders.
        sizes: T, B and d.
        dtype: Type of the inputs; half types are autocast with weights in float32.
        backward: Whether to run backward as well.
        device: Where.
        copies: Inputs that take turns, so that none is left in cache by the last run.
    """
    runs: dict[str, Run] = {}
    half = dtype if dtype.itemsize == 2 else torch.bfloat16
    autocast = torch.autocast(device, half, enabled=dtype.itemsize == 2)
    for name in names:
        # The published package trains in quadratic time on CPU.
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
