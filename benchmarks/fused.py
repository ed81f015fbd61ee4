"""Measures layers whose product and recurrence are fused against products of torch's libraries.

    SRULIGHT_FUSED=on python benchmarks/fused.py                      half types and float32
    SRULIGHT_FUSED=on python benchmarks/fused.py --dtypes bfloat16

Inference of one SRU layer with as many features as channels, on one thread, by CPU time. "Unfused"
is the product of the library that srulight would use, followed by the recurrence; "product" is that
product alone, and "float32 product" the product of the same sizes in float32. They take turns in
one process. Below 1, a ratio says how much less time the fused layer needs.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from srulight.runtime.allocator import tune_allocator

tune_allocator()  # before torch allocates

import torch  # noqa: E402

from srulight.bench.machine import describe, in_short  # noqa: E402
from srulight.ops import extension  # noqa: E402
from srulight.ops.product import linear  # noqa: E402
from srulight.runtime.provenance import today, versions  # noqa: E402

SIZES = ["32,32,256", "128,32,256", "256,32,512", "128,8,1024", "2000,1,256", "4,8,256"]


def runs(size: tuple[int, int, int], dtype: torch.dtype) -> dict[str, Callable[[], object]]:
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
        "product": lambda: linear(halves, matrix),
        "float32 product": lambda: linear(x, weight),
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
    parser.add_argument("--seconds", type=float, default=2.0,
                        help="time for each size in seconds (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    machine = in_short(describe("cpu"), versions("torch"))
    print(f"{machine}, {extension.cpu_level()}, {today()}\n")
    print("| dtype | T, B, d | fused, ms | / unfused | / product | / float32 product |")
    print("|---|---|---|---|---|---|")
    for name in args.dtypes:
        dtype = getattr(torch, name)
        if not extension.fuses(dtype):
            raise SystemExit(f"{name} is not fused; set {extension.FUSED}=on")
        for text in args.sizes:
            steps, batch, width = (int(part) for part in text.split(","))
            found = measure(runs((steps, batch, width), dtype), args.seconds)
            fused = found.pop("fused")
            ratios = " | ".join(f"{fused / each:.2f}" for each in found.values())
            print(f"| {name} | {text} | {fused:.3g} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
