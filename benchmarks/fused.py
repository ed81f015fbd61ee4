"""Measures layers whose product and recurrence are fused against products of torch's libraries.

    SRULIGHT_FUSED=on python benchmarks/fused.py                      half types and float32
    SRULIGHT_FUSED=on python benchmarks/fused.py --dtypes bfloat16
    SRULIGHT_FUSED=on python benchmarks/fused.py --training           forward and backward pass

One SRU layer with as many features as channels, on one thread, by CPU time. The contenders take
turns in one process. Below 1, a ratio says how much less time the fused layer needs.

In inference, "unfused" is the product as srulight runs it where it does not fuse, followed by the
recurrence; "product" is the product of torch's library in the dtype, and "float32 product" the
product of the same sizes in float32.

In training, "products" are the three products of both passes in torch's library, "float32 products"
the same in float32, and "float32 layer" is a layer of float32 as srulight runs it.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from srulight.runtime.allocator import tune_allocator

tune_allocator()  # before torch allocates

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from srulight.bench.machine import describe, in_short  # noqa: E402
from srulight.ops import extension, sru_layer  # noqa: E402
from srulight.ops.product import backward_products, linear  # noqa: E402
from srulight.runtime.provenance import today, versions  # noqa: E402

SIZES = ["32,32,256", "128,32,256", "256,32,512", "128,8,1024", "2000,1,256", "4,8,256"]


def inference(size: tuple[int, int, int], dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """Draws a layer of T steps, B sequences and D channels, and returns what to time."""
    steps, batch, width = size
    x, weight = torch.randn(batch, steps, width), torch.randn(3 * width, width) / width**0.5
    halves, matrix = x.to(dtype), weight.to(dtype)
    v, b = torch.randn(2, width), torch.randn(2, width)
    rest = (halves, v, b, None, None, None, 1.0, 0, False)

    def unfused() -> object:
        u = linear(halves, matrix).unflatten(-1, (3, width))
        return torch.ops.srulight.sru(u, *rest, False, -1)

    return {
        "fused": lambda: torch.ops.srulight.sru_fused(halves, matrix, *rest, False, -1),
        "unfused": unfused,
        "product": lambda: F.linear(halves, matrix),
        "float32 product": lambda: linear(x, weight),
    }


def training(size: tuple[int, int, int], dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """Draws a layer of T steps, B sequences and D channels, and returns what to time."""
    steps, batch, width = size

    def layer(kind: torch.dtype) -> Callable[[], object]:
        x, grad = torch.randn(2, batch, steps, width).to(kind)
        weight = torch.randn(3 * width, width).div(width**0.5).to(kind)
        leaves = [x, weight, *torch.randn(2, 2, width)]
        leaves = [leaf.detach().requires_grad_() for leaf in leaves]

        def run() -> object:
            with torch.enable_grad():
                h, _ = sru_layer(leaves[0], leaves[1], leaves[0], leaves[2], leaves[3])
                return torch.autograd.grad(h, leaves, grad)

        return run

    rows, weight = torch.randn(batch * steps, width), torch.randn(3 * width, width)
    grad = torch.randn(batch * steps, 3 * width)
    halves = [t.to(dtype) for t in (rows, weight, grad)]

    def products() -> object:
        x, matrix, back = halves
        return F.linear(x, matrix), back @ matrix, back.t() @ x

    return {
        "fused": layer(dtype),
        "products": products,
        "float32 products": lambda: (linear(rows, weight), backward_products(grad, rows, weight)),
        "float32 layer": layer(torch.float32),
    }


def measure(timed: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Returns the median CPU time of each, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in timed}
    end = time.perf_counter() + seconds
    while len(times["fused"]) < 3 or time.perf_counter() < end:
        for name, call in timed.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return {name: 1e3 * statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float16", "float32"],
                        metavar="DTYPE", help="dtypes (default: %(default)s)")  # fmt: skip
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="T,B,D",
                        help="steps, sequences and channels (default: %(default)s)")  # fmt: skip
    parser.add_argument("--training", action="store_true",
                        help="time forward and backward (default: inference)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=2.0,
                        help="time for each size in seconds (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    machine = in_short(describe("cpu"), versions("torch"))
    print(f"{machine}, {extension.cpu_level()}, {today()}\n")
    draw = training if args.training else inference
    head = True
    for name in args.dtypes:
        dtype = getattr(torch, name)
        if not extension.fuses(dtype):
            raise SystemExit(f"{name} is not fused; set {extension.FUSED}=on")
        for text in args.sizes:
            steps, batch, width = (int(part) for part in text.split(","))
            found = measure(draw((steps, batch, width), dtype), args.seconds)
            fused = found.pop("fused")
            if head:
                names = ["dtype", "T, B, d", "fused, ms", *(f"/ {other}" for other in found)]
                print(f"| {' | '.join(names)} |\n{'|---' * len(names)}|")
                head = False
            ratios = " | ".join(f"{fused / each:.2f}" for each in found.values())
            print(f"| {name} | {text} | {fused:.3g} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
