"""Time of a recurrent layer on CPU, beside its own matrix products and beside other layers.

    python benchmarks/recurrence.py                      everything, some 20 minutes
    python benchmarks/recurrence.py layers --threads 1 --dtypes float32 --sizes 128,32,256

Parts:
    layers   one layer, forward without gradients and forward with backward
    step     one step of one sequence at a time (streaming), without gradients
    length   time a step, and peak memory, as sequences grow

Contenders take turns within one process; a figure is the ratio of their medians. bfloat16 is
``torch.autocast``: inputs are bfloat16, weights float32, for everyone. The floor is the layer's own
matrix product(s): ``F.linear`` of all steps. ``sru`` 2.6, the published package, is left out where
its training on CPU, a Python loop of quadratic time, would take minutes.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from srulight.memory import keep_pages

keep_pages()  # before torch allocates; for every contender

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from srulight.encoders.sru import SRU  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.test_compat import import_published  # noqa: E402

SIZES = ("32,32,256", "128,32,256", "256,32,512", "512,16,1024", "1000,1,512", "2000,1,256")
LAYERS = ("floor", "SRU", "Conv1d", "LSTM", "GRU", "sru2.6")
LENGTHS = (1_000, 10_000, 100_000)
MEMORY_LENGTH = 16_384

Run = Callable[[], object]


def medians(runs: dict[str, Run], seconds: float) -> dict[str, float]:
    """Lets the contenders take turns for about so many seconds, five turns at least.

    Returns:
        Median seconds of each.
    """
    for run in runs.values():
        run()
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(runs))]) < 5:
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


class Floor(nn.Module):
    """The matrix product of an SRU layer, all steps at once."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * size, size) / size**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


def contender(name: str, size: int) -> nn.Module:
    """Makes a layer of equal input and output size, batch first but for ``sru2.6`` and Conv1d."""
    if name == "floor":
        return Floor(size)
    if name == "SRU":
        return SRU(size, size, num_layers=1)
    if name == "Conv1d":
        return nn.Conv1d(size, size, 3, padding=1)
    if name == "sru2.6":
        return import_published().SRU(size, size, num_layers=1)
    return {"LSTM": nn.LSTM, "GRU": nn.GRU}[name](size, size, batch_first=True)


def inputs(name: str, sizes: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Makes an input in the layout that the contender likes best."""
    steps, batch, size = sizes
    shape = {"Conv1d": (batch, size, steps), "sru2.6": (steps, batch, size)}
    return torch.randn(shape.get(name, (batch, steps, size)), dtype=dtype)


def layer_runs(
    names: tuple[str, ...], sizes: tuple[int, int, int], dtype: torch.dtype, *, backward: bool
) -> dict[str, Run]:
    """Makes one function a contender that runs it once, with or without backward."""
    runs: dict[str, Run] = {}
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    for name in names:
        if name == "sru2.6" and backward and (sizes[0] > 256 or dtype != torch.float32):
            continue
        layer = contender(name, sizes[2])
        x = inputs(name, sizes, dtype).requires_grad_(backward)
        with torch.no_grad(), autocast:
            out = layer(x)
        grad = torch.randn_like(out if isinstance(out, Tensor) else out[0])

        def run(layer: nn.Module = layer, x: Tensor = x, grad: Tensor = grad) -> None:
            with torch.set_grad_enabled(backward), autocast:
                out = layer(x)
            if backward:
                (out if isinstance(out, Tensor) else out[0]).backward(grad)
                layer.zero_grad()
                x.grad = None

        runs[name] = run
    return runs


def layers(args: argparse.Namespace) -> None:
    """Prints one table for each dtype and number of threads."""
    for dtype in (getattr(torch, name) for name in args.dtypes):
        for threads in args.threads:
            torch.set_num_threads(threads)
            print(f"\n{str(dtype).removeprefix('torch.')}, threads: {threads}\n")
            others = [name for name in args.contenders if name not in ("floor", "SRU")]
            print("| T, B, d | pass | SRU ms | SRU / floor |", end="")
            print("".join(f" {name} / SRU |" for name in others), flush=True)
            print("|---" * (4 + len(others)) + "|")
            for text in args.sizes:
                steps, batch, size = (int(n) for n in text.split(","))
                for backward in (False, True):
                    sizes = steps, batch, size
                    runs = layer_runs(tuple(args.contenders), sizes, dtype, backward=backward)
                    times = medians(runs, args.seconds)
                    sru = times["SRU"]
                    cells = [text, "forward + backward" if backward else "forward"]
                    cells += [f"{1e3 * sru:.2f}", f"{sru / times['floor']:.2f}"]
                    cells += [f"{times[n] / sru:.2f}" if n in times else "-" for n in others]
                    print("|", " | ".join(cells), "|", flush=True)


def step_times(size: int, dtype: torch.dtype, seconds: float) -> dict[str, float]:
    """Measures one step of one sequence, with a state that is handed on."""
    x = torch.randn(1, 1, size, dtype=dtype)
    row, zero = x[0], torch.zeros(1, size, dtype=dtype)
    zeros = torch.zeros(4, 1, size, dtype=dtype)
    one, four = SRU(size, size, num_layers=1), SRU(size, size, num_layers=4)
    cell, stack = nn.LSTMCell(size, size), nn.LSTM(size, size, 4, batch_first=True)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    with torch.inference_mode(), autocast:
        state, states = one.resume(x)[1], four.resume(x)[1]
        single: dict[str, Run] = {
            "SRU": lambda: one.resume(x, state),
            "LSTMCell": lambda: cell(row, (zero, zero)),
        }
        deep: dict[str, Run] = {
            "SRU, 4 layers": lambda: four.resume(x, states),
            "LSTM, 4 layers": lambda: stack(x, (zeros, zeros)),
        }
        # A stream stays with one network: the pairs are measured apart.
        return medians(single, seconds / 2) | medians(deep, seconds / 2)


def step(args: argparse.Namespace) -> None:
    """Prints the time of one step."""
    print("\n| width | dtype | SRU us | LSTMCell / SRU | SRU / nn.LSTM, 4 layers |")
    print("|---" * 5 + "|")
    torch.set_num_threads(1)
    for size in (128, 256, 512, 1024):
        for name in args.dtypes:
            t = step_times(size, getattr(torch, name), args.seconds)
            ratio, deep = t["LSTMCell"] / t["SRU"], t["SRU, 4 layers"] / t["LSTM, 4 layers"]
            print(
                f"| {size} | {name} | {1e6 * t['SRU']:.1f} | {ratio:.2f} | {deep:.2f} |", flush=True
            )


def length(args: argparse.Namespace) -> None:
    """Prints time a step for longer and longer sequences, and peak memory, forward + backward."""
    torch.set_num_threads(max(args.threads))
    print("\n| T (B 1, d 256) | SRU us / step | LSTM us / step |\n|---|---|---|")
    for steps in LENGTHS:
        runs = layer_runs(("SRU", "LSTM"), (steps, 1, 256), torch.float32, backward=True)
        t = medians(runs, args.seconds)
        print(
            f"| {steps:,} | {1e6 * t['SRU'] / steps:.2f} | {1e6 * t['LSTM'] / steps:.2f} |",
            flush=True,
        )
    print(f"\n| T {MEMORY_LENGTH:,}, B 1, d 512 | peak MB above the input |\n|---|---|")
    for name in ("SRU", "LSTM", "GRU"):
        command = [sys.executable, __file__, "memory", "--contenders", name]
        print(f"| {name} | {subprocess.check_output(command, text=True).strip()} |", flush=True)


def memory(args: argparse.Namespace) -> None:
    """Prints the peak memory of one forward + backward in this process."""
    (run,) = layer_runs(tuple(args.contenders), (64, 1, 512), torch.float32, backward=True).values()
    run()
    (run,) = layer_runs(
        tuple(args.contenders), (MEMORY_LENGTH, 1, 512), torch.float32, backward=True
    ).values()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    print(f"{(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.0f}")


def main() -> None:
    """Runs the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parts = {"layers": layers, "step": step, "length": length, "memory": memory}
    parser.add_argument(
        "parts", nargs="*", default=["layers", "step", "length"], metavar="part",
        help="layers, step, length (default: all)",
    )  # fmt: skip
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="T,B,d")
    parser.add_argument("--contenders", nargs="+", default=LAYERS)
    parser.add_argument("--seconds", type=float, default=6, help="length of a measurement")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    for part in args.parts:
        parts[part](args)


if __name__ == "__main__":
    main()
