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
from srulight.ops.product import linear

FLOORS = ("F.linear", "products")
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


def contender(name: str, size: int) -> nn.Module:
    """Makes a layer of equal input and output size, batch first but for ``sru2.6`` and Conv1d."""
    if name in FLOORS:
        return Floor(size, own=name == "products")
    if name == "SRU":
        return SRU(size, size, num_layers=1)
    if name == "Conv1d":
        return nn.Conv1d(size, size, 3, padding=1)
    if name == "sru2.6":
        import sru  # compiles its kernel at import, half a minute at the first

        return sru.SRU(size, size, num_layers=1)
    return {"LSTM": nn.LSTM, "GRU": nn.GRU}[name](size, size, batch_first=True)


def inputs(name: str, sizes: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Makes an input in the layout that the contender likes best."""
    steps, batch, size = sizes
    shape = {"Conv1d": (batch, size, steps), "sru2.6": (steps, batch, size)}
    return torch.randn(shape.get(name, (batch, steps, size)), dtype=dtype)


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
        dtype: Type of the inputs; bfloat16 is autocast with weights in float32.
        backward: Whether to run backward as well.
        device: Where.
        copies: Inputs that take turns, so that none is left in cache by the last run.
    """
    runs: dict[str, Run] = {}
    autocast = torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16)
    for name in names:
        if name == "sru2.6" and (dtype != torch.float32 or (backward and sizes[0] > 256)):
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
