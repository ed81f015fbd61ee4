"""Measures the peak memory of training a layer on a CPU, each layer in a process of its own.

    python benchmarks/peak_memory.py
    python benchmarks/peak_memory.py --length 4096 --layers SRU LSTM

The peak of a forward and a backward pass is that of the whole process, above what it had needed
before. Linux only.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from srulight.runtime.allocator import tune_allocator

tune_allocator()  # before torch allocates

from srulight.bench.cases import Case  # noqa: E402
from srulight.bench.layers import LAYERS  # noqa: E402

SHORT = 64
"""Number of steps of a first pass, which loads and allocates what every pass needs."""


def peak() -> int:
    """Returns the peak memory of this process so far, in kB."""
    # Not from getrusage, whose value a process inherits from its parent.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def grown(name: str, case: Case) -> float:
    """Runs a layer forward and backward, and returns by how many MB the peak has grown."""
    LAYERS[name].prepare(Case("training", SHORT, case.width, case.batch))()
    run = LAYERS[name].prepare(case)
    before = peak()
    run()
    return (peak() - before) / 1024


def main() -> None:
    """Prints a table with a row per layer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--length", type=int, default=16_384, help="number of steps (%(default)s)")
    parser.add_argument("--width", type=int, default=512, help="number of features (%(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="number of sequences (%(default)s)")
    parser.add_argument(
        "--layers", nargs="+", default=["products", "SRU", "LSTM", "GRU"], choices=LAYERS,
        metavar="LAYER", help=f"layers to measure: {', '.join(LAYERS)}",
    )  # fmt: skip
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        case = Case("training", args.length, args.width, args.batch)
        print(f"{grown(args.layers[0], case):.0f}")
        return
    sizes = [f"--{name}={vars(args)[name]}" for name in ("length", "width", "batch")]
    print(f"| T {args.length:,}, B {args.batch:,}, d {args.width:,} | peak MB above the input |")
    print("|---|---|")
    for name in args.layers:
        command = [sys.executable, __file__, "--alone", *sizes, "--layers", name]
        print(f"| {name} | {subprocess.check_output(command, text=True).strip()} |", flush=True)


if __name__ == "__main__":
    main()
