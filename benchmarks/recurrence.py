"""Measures a recurrent layer on a CPU against its own matrix products and against other layers.

    python benchmarks/recurrence.py                      all parts, half an hour
    python benchmarks/recurrence.py layers --threads 1 --dtypes float32 --sizes 128,32,256

Parts:
    layers    one layer, forward without gradients, and forward with backward
    step      one step of one sequence at a time (streaming), without gradients
    length    time per step and peak memory for sequences of growing length
    products  the matrix products alone, with MKL and with oneDNN
    kernel    the recurrence alone, against a copy of its gates

Contenders take turns in one process, and ratios are ratios of their medians. bfloat16 means
``torch.autocast`` with bfloat16 inputs and float32 weights for all contenders. "F.linear" is the
product of an SRU layer as torch computes it; "products" are the products as the layer computes
them, which are a lower bound. ``sru2.6``, the published package, supports float32 only. It is
skipped where its training, which takes quadratic time, would take minutes.
"""

import argparse
import datetime
import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

from srulight.runtime.allocator import tune_allocator

tune_allocator()  # before torch allocates, and for all contenders

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from contenders import FLOORS, Run, layer_runs, medians  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from srulight.encoders.sru import SRU  # noqa: E402
from srulight.ops import extension  # noqa: E402
from srulight.runtime.machine import processor  # noqa: E402

SIZES = ("32,32,256", "128,32,256", "256,32,512", "512,16,1024", "1000,1,512", "2000,1,256")
LAYERS = ("SRU", "F.linear", "products", "Conv1d", "LSTM", "GRU", "sru2.6")
LENGTHS = (1_000, 10_000, 100_000)
MEMORY_LENGTH = 16_384


def layers(args: argparse.Namespace) -> None:
    """Prints one table per dtype and number of threads."""
    for dtype in (getattr(torch, name) for name in args.dtypes):
        for threads in args.threads:
            torch.set_num_threads(threads)
            print(f"\n{str(dtype).removeprefix('torch.')}, threads: {threads}\n")
            floors = [name for name in args.contenders if name in FLOORS]
            others = [name for name in args.contenders if name not in (*FLOORS, "SRU")]
            heads = [*(f"SRU / {n}" for n in floors), *(f"{n} / SRU" for n in others)]
            print("| T, B, d | pass | SRU ms |", " | ".join(heads), "|", flush=True)
            print("|---" * (3 + len(heads)) + "|")
            for text in args.sizes:
                steps, batch, size = (int(n) for n in text.split(","))
                for backward in (False, True):
                    sizes = steps, batch, size
                    runs = layer_runs(tuple(args.contenders), sizes, dtype, backward=backward)
                    times = medians(runs, args.seconds)
                    sru = times["SRU"]
                    cells = [text, "forward + backward" if backward else "forward"]
                    cells += [f"{1e3 * sru:.2f}", *(f"{sru / times[n]:.2f}" for n in floors)]
                    cells += [f"{times[n] / sru:.2f}" if n in times else "-" for n in others]
                    print("|", " | ".join(cells), "|", flush=True)


def step_times(size: int, dtype: torch.dtype, seconds: float) -> dict[str, float]:
    """Returns the median seconds of one step of one sequence, given a state."""
    x = torch.randn(1, 1, size, dtype=dtype)
    row, zero = x[0], torch.zeros(1, size, dtype=dtype)
    zeros = torch.zeros(4, 1, size, dtype=dtype)
    one, four = SRU(size, size, num_layers=1), SRU(size, size, num_layers=4)
    cell, stack = nn.LSTMCell(size, size), nn.LSTM(size, size, 4, batch_first=True)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    with torch.inference_mode(), autocast:
        state, states = one.forward_with_state(x)[1], four.forward_with_state(x)[1]
        single: dict[str, Run] = {
            "SRU": lambda: one.forward_with_state(x, state),
            "LSTMCell": lambda: cell(row, (zero, zero)),
        }
        deep: dict[str, Run] = {
            "SRU, 4 layers": lambda: four.forward_with_state(x, states),
            "LSTM, 4 layers": lambda: stack(x, (zeros, zeros)),
        }
        # A stream uses one network, so the pairs are measured separately.
        return medians(single, seconds / 2) | medians(deep, seconds / 2)


def step(args: argparse.Namespace) -> None:
    """Prints the time of a single step."""
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
    """Prints the time per step for sequences of growing length, and the peak memory."""
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
    for name in ("products", "SRU", "LSTM", "GRU"):
        command = [sys.executable, __file__, "--memory", name]
        print(f"| {name} | {subprocess.check_output(command, text=True).strip()} |", flush=True)


def memory(name: str) -> None:
    """Prints the peak memory of one forward + backward in this process, in MB."""

    def peak() -> int:
        # Not from getrusage, whose value a process inherits from its parent.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])

    for steps in (64, MEMORY_LENGTH):
        (run,) = layer_runs((name,), (steps, 1, 512), torch.float32, backward=True).values()
        before = peak()
        run()
    print(f"{(peak() - before) / 1024:.0f}")


def products(args: argparse.Namespace) -> None:
    """Prints the time of float32 products with oneDNN relative to MKL, which torch uses."""
    onednn = torch.ops.mkldnn._linear_pointwise
    for threads in args.threads:
        torch.set_num_threads(threads)
        print(f"\n| T, B, d (threads: {threads}) | forward, oneDNN / MKL | gradient of x |")
        print("|---|---|---|")
        for text in args.sizes:
            steps, batch, size = (int(n) for n in text.split(","))
            x, grad = torch.randn(steps * batch, size), torch.randn(steps * batch, 3 * size)
            weight = torch.randn(3 * size, size)

            def run(by: Callable[..., Tensor], x: Tensor, weight: Tensor) -> Run:
                if by is onednn:
                    return lambda: onednn(x, weight, None, "none", [], "")
                return lambda: by(x, weight)

            ratios = []
            with torch.no_grad():
                for left, right in ((x, weight), (grad, weight.t())):
                    runs = {"MKL": run(F.linear, left, right), "oneDNN": run(onednn, left, right)}
                    t = medians(runs, args.seconds / 2)
                    ratios.append(t["oneDNN"] / t["MKL"])
            print(f"| {text} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)


def kernel(args: argparse.Namespace) -> None:
    """Prints nanoseconds per element of the recurrence, and of a copy of its gates."""
    for name in args.dtypes:
        for threads in args.threads:
            torch.set_num_threads(threads)
            print(f"\n| T, B, d ({name}, threads: {threads}) | forward | backward | copy |")
            print("|---" * 4 + "|")
            for text in args.sizes:
                steps, batch, size = (int(n) for n in text.split(","))
                dtype = getattr(torch, name)
                u = torch.randn(batch, steps, 3, size, dtype=dtype)
                x, grad = torch.randn(2, batch, steps, size, dtype=dtype)
                v, b = torch.randn(2, 2, size)
                options = (1.0, 0, False)
                recurrence, transposed = torch.ops.srulight.sru, torch.ops.srulight.sru_backward
                with torch.inference_mode():
                    c = recurrence(u, x, v, b, None, None, None, *options, True)[2]
                    runs: dict[str, Run] = {
                        "forward": partial(
                            recurrence, u, x, v, b, None, None, None, *options, False
                        ),
                        "backward": partial(
                            transposed, u, x, v, b, None, None, c, grad, None, *options
                        ),
                        "copy": partial(torch.empty_like(u).copy_, u),
                    }
                    t = medians(runs, args.seconds / 2)
                cells = [f"{1e9 * t[n] / grad.numel():.2f}" for n in runs]
                print(f"| {text} |", " | ".join(cells), "|", flush=True)


def machine() -> str:
    """Describes the machine, the versions and the date of a measurement."""
    return (
        f"{processor()}, {os.cpu_count()} cores, torch"
        f" {torch.__version__}, kernels {extension.cpu_level() or 'off'},"
        f" {datetime.date.today().isoformat()}"
    )


def main() -> None:
    """Runs the requested parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parts = {
        "layers": layers,
        "step": step,
        "length": length,
        "products": products,
        "kernel": kernel,
    }
    parser.add_argument(
        "parts", nargs="*", default=list(parts), metavar="part",
        help=f"parts to run: {', '.join(parts)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", nargs="+", type=int, default=[1, 2], help="numbers of CPU threads"
    )
    parser.add_argument(
        "--dtypes", nargs="+", default=["float32", "bfloat16"], help="dtypes to measure"
    )
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="sizes to measure, as T,B,d")
    parser.add_argument(
        "--contenders", nargs="+", default=LAYERS, help="layers to compare in the part layers"
    )
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument(
        "--seconds", type=float, default=6,
        help="duration of each measurement, in seconds (%(default)s)",
    )  # fmt: skip
    args = parser.parse_args()
    if "sru2.6" in args.contenders and importlib.util.find_spec("sru") is None:
        print("sru2.6 is skipped: the package sru is not installed")
        args.contenders = [name for name in args.contenders if name != "sru2.6"]
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    if args.memory:
        return memory(args.memory)
    print(machine())
    for part in args.parts:
        parts[part](args)


if __name__ == "__main__":
    main()
