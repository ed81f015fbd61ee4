"""Measures chunks of time that a CPU processes in parallel against the steps in order.

    python benchmarks/time_parallel.py                            the table, a minute on 2 cores
    python benchmarks/time_parallel.py --threads 2 --sizes 64     one width

One sequence passes through the recurrence forward, saving what training needs, and backward. The
weights are those of a new SRU. "In order" forbids chunks, "auto" leaves the choice to srulight and
"forced" asks for chunks; they take turns in one process. Above 1, a ratio says how many times as
fast as the steps in order a choice is. The last columns say how much of the work was repeated
because the guess at the start of a chunk was wrong.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from srulight.runtime.allocator import tune_allocator

tune_allocator()  # before torch allocates

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from srulight.bench.machine import describe, in_short  # noqa: E402
from srulight.encoders.sru import SRULayer  # noqa: E402
from srulight.ops import SparseSettings  # noqa: E402
from srulight.ops.extension import chunk_counts  # noqa: E402
from srulight.runtime.provenance import today, versions  # noqa: E402

CHOICES = {"in order": 0, "auto": -1, "forced": 1}
Pass = Callable[[int], object]


def passes(steps: int, size: int, bias: float, peephole: bool) -> dict[str, Pass]:
    """Draws a sequence, and returns the passes over it by their names."""
    layer = SRULayer(
        size, size, bidirectional=False, dropout=0, input_dropout=0, projection_size=0,
        activation="identity", peephole=peephole, skip=True, highway_bias=0, rescale=True,
        layer_norm="none", sparse_backward=SparseSettings(), time_parallel="auto",
    )  # fmt: skip
    x = torch.randn(1, steps, size)
    with torch.no_grad():
        u = torch.nn.functional.linear(x, layer.weight).unflatten(-1, (3, size))
        b = layer.bias.detach() + torch.tensor([[bias], [0.0]])
    v = layer.peephole.detach() if peephole else None
    options = (layer.scale, 0, False)

    def forward(choice: int) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.srulight.sru(
            u, x, v, b, None, None, None, *options, True, choice
        )
        return found

    _, _, c = forward(0)
    grad = torch.randn_like(x)

    def backward(choice: int) -> object:
        return torch.ops.srulight.sru_backward(
            u, x, v, b, None, None, c, grad, None, *options, choice
        )

    return {"forward": forward, "backward": backward}


def measure(run: Pass, seconds: float) -> tuple[dict[str, float], float]:
    """Returns the median time of each choice, and the share of the work that auto repeats."""
    times: dict[str, list[float]] = {name: [] for name in CHOICES}
    before = chunk_counts()
    run(CHOICES["auto"])
    done = chunk_counts().since(before)
    end = time.perf_counter() + seconds
    while len(times["forced"]) < 5 or time.perf_counter() < end:
        for name, choice in CHOICES.items():
            start = time.perf_counter()
            run(choice)
            times[name].append(time.perf_counter() - start)
    repeated = done.repairs / done.numbers if done.numbers else 0.0
    return {name: statistics.median(found) for name, found in times.items()}, repeated


def main() -> None:
    """Measures what the arguments ask for, and prints a table."""
    parser = argparse.ArgumentParser(description="Measures chunks of time on a CPU.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[1000, 4000, 20000, 100000], help="lengths"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[16, 64, 128, 256, 512], help="numbers of channels"
    )
    parser.add_argument(
        "--bias", type=float, default=0.0, help="bias of the forget gates; above 0, states last"
    )
    parser.add_argument("--no_peephole", action="store_true", help="measure the cell of 2017")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="time for each pass and size, in seconds"
    )
    parser.add_argument(
        "--largest", type=int, default=30_000_000, help="most steps times channels, for memory"
    )
    args = parser.parse_args()
    print(f"{in_short(describe('cpu'), versions('torch'))}, {today()}\n")
    heads = ["threads", "T", "d", "pass", "in order, ns per step", "auto", "forced", "repeated"]
    print("|", " | ".join(heads), "|\n|", "---|" * len(heads), sep="")
    for threads in args.threads:
        torch.set_num_threads(threads)
        for size in args.sizes:
            for steps in args.steps:
                if steps * size > args.largest:
                    continue
                torch.manual_seed(0)
                for name, run in passes(steps, size, args.bias, not args.no_peephole).items():
                    found, repeated = measure(run, args.seconds)
                    order = found["in order"]
                    ratios = [f"{order / found[choice]:.2f}" for choice in ("auto", "forced")]
                    row = [threads, steps, size, name, f"{order / steps * 1e9:.0f}", *ratios]
                    print("|", " | ".join(map(str, [*row, f"{repeated:.2f}"])), "|", flush=True)


if __name__ == "__main__":
    main()
