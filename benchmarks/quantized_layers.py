"""Measures products of 8-bit integers, and encoders with and without them.

    taskset -c 0 python benchmarks/quantized_layers.py

The contenders take turns, on one thread, whose processor time counts. The time of an integer
product includes rounding the activations, and scaling the product. The limit ``FEW`` in
``srulight/quantization/matrix.py`` comes from the first table.
"""

import copy
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.bench.timing import Run, rounds, warm_up
from srulight.encoders import GRU, LSTM, QRNN, SRU, SRUpp
from srulight.quantization import quantize
from srulight.quantization.integer import (
    levels,
    multiply,
    packed,
    round_rows,
    round_to_range,
    round_weight,
)
from srulight.runtime.machine import processor

WEIGHTS = ((128, 384), (256, 768), (512, 1536))
ROWS = (1, 4, 16, 32, 64, 128, 256, 1024)
ENCODERS = (SRU, SRUpp, QRNN, LSTM, GRU)
WIDTHS = (256, 512)
SHAPES = ((1, 1), (1, 128), (32, 128))  # B and T
SECONDS = 1.0


def dynamic(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """Multiplies by integers; each row of ``x`` has a range of its own."""
    return multiply(round_rows(x), weight, scale)


def calibrated(x: Tensor, low: float, high: float, weight: Tensor, scale: Tensor) -> Tensor:
    """Multiplies by integers; all rows of ``x`` have the same range."""
    return multiply(round_to_range(x, low, high), weight, scale)


def measured(runs: dict[str, Run]) -> dict[str, float]:
    """Returns the median processor time of each contender, in milliseconds."""
    warm = {name: warm_up(run) for name, run in runs.items()}
    each = [times for _, times in rounds(runs, warm, SECONDS, 9, clock="cpu")]
    return {name: 1e3 * median(one[name] for one in each) for name in runs}


def products() -> None:
    """Prints a table of single products."""
    print("| weight | rows | multiplications / 10^6 | floats, ms | dynamic, ms | calibrated, ms |")
    print("|---|---|---|---|---|---|")
    for features, outputs in WEIGHTS:
        weight = torch.randn(outputs, features) / features**0.5
        values, scale = round_weight(weight)
        integers = packed(values)
        for rows in ROWS:
            x = torch.randn(rows, features)
            low, high = (end.item() for end in x.aminmax())
            times = measured(
                {
                    "floats": partial(F.linear, x, weight),
                    "dynamic": partial(dynamic, x, integers, scale),
                    "calibrated": partial(calibrated, x, low, high, integers, scale),
                }
            )
            row = [f"{features} x {outputs}", str(rows), f"{rows * features * outputs / 1e6:.2f}"]
            print("|", " | ".join([*row, *(f"{t:.3f}" for t in times.values())]), "|")


def encoders() -> None:
    """Prints a table of encoders with two layers."""
    print("| encoder | width | batch | steps | floats, ms | 8 bits, ms | times as fast |")
    print("|---|---|---|---|---|---|---|")
    for kind in ENCODERS:
        for width in WIDTHS:
            encoder = kind(width, width).eval()
            quantized = copy.deepcopy(encoder)
            quantize(quantized)
            for batch, steps in SHAPES:
                x = torch.randn(batch, steps, width)
                _, state = encoder.forward_with_state(x)
                times = measured(
                    {
                        "floats": partial(encoder.forward_with_state, x, state),
                        "8 bits": partial(quantized.forward_with_state, x, state),
                    }
                )
                row = [kind.__name__, width, batch, steps, *(f"{t:.3f}" for t in times.values())]
                ratio = times["floats"] / times["8 bits"]
                print("|", " | ".join([*map(str, row), f"{ratio:.2f}"]), "|", flush=True)


@torch.inference_mode()
def main() -> None:
    """Prints the tables."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{processor()}, torch {torch.__version__}, activations up to {levels()}\n")
    products()
    print()
    encoders()


if __name__ == "__main__":
    main()
