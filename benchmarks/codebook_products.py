"""Measures products by 4-bit indices into codebooks, beside floats and 8-bit integers.

    taskset -c 0 python benchmarks/codebook_products.py

The contenders take turns, on one thread, whose processor time counts. First it verifies that the
kernel gives the same numbers as the reference. ``FEW`` in
``srulight/quantization/codebook_matrix.py`` comes from the first table.
"""

import copy
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F

from srulight.bench.timing import Run, rounds, warm_up
from srulight.encoders import SRU
from srulight.ops import extension
from srulight.ops.codebook import codebook_linear, entries
from srulight.ops.fixed_point import to_fixed_point
from srulight.quantization import CodebookMatrix, Int8Matrix, quantize
from srulight.quantization.integer import multiply, round_rows
from srulight.runtime.machine import processor

WEIGHTS = ((128, 384), (256, 768), (512, 1536), (1024, 3072), (512, 10_000))
ROWS = (1, 4, 16, 32)
WIDTHS = (256, 512, 1024)
BATCHES = (1, 4, 16)
SECONDS = 0.4


def measured(runs: dict[str, Run]) -> dict[str, float]:
    """Returns the median processor time of each contender, in microseconds."""
    warm = {name: warm_up(run) for name, run in runs.items()}
    each = [times for _, times in rounds(runs, warm, SECONDS, 9, clock="cpu")]
    return {name: 1e6 * median(one[name] for one in each) for name in runs}


def check(matrix: CodebookMatrix, x: torch.Tensor) -> None:
    """Raises ValueError unless the kernel computes what 64-bit integers give."""
    integers, step = to_fixed_point(x, 10, 16)
    values = entries(matrix.indices, matrix.codebook, x.size(1)).double()
    wanted = (integers.double() @ values.t()).float() * (matrix.scale * step)
    got = codebook_linear(x, matrix.indices, matrix.codebook, matrix.scale, 10, 16)
    if not torch.equal(got, wanted):
        raise ValueError("the kernel differs from the reference; run python train.py doctor")


def products() -> None:
    """Prints a table of single products."""
    print("| weight | rows | floats, µs | 8-bit integers, µs | 4 bits, µs | floats / 4 bits |")
    print("|---|---|---|---|---|---|")
    for features, outputs in WEIGHTS:
        weight = torch.randn(outputs, features) / features**0.5
        eight, four = Int8Matrix.of(weight), CodebookMatrix.of(weight)
        four.fraction = torch.tensor(10)
        integers = torch.ops.onednn.qlinear_prepack.default(eight.values, None)
        for rows in ROWS:
            x = torch.randn(rows, features)
            check(four, x)
            fixed = (four.indices, four.codebook, four.scale, 10, 16)
            times = measured(
                {
                    "floats": partial(F.linear, x, weight),
                    "8 bits": partial(lambda x, w, s: multiply(round_rows(x), w, s), x, integers,
                                      eight.scale),
                    "4 bits": partial(codebook_linear, x, *fixed),
                }
            )  # fmt: skip
            row = [f"{features} x {outputs}", str(rows), *(f"{t:.0f}" for t in times.values())]
            print("|", " | ".join([*row, f"{times['floats'] / times['4 bits']:.2f}"]), "|")


def steps() -> None:
    """Prints a table of single steps of an SRU with two layers, which continue from a state."""
    print("| width | sequences | floats, µs | 8 bits, µs | 4 bits, µs | floats / 4 bits |")
    print("|---|---|---|---|---|---|")
    for width in WIDTHS:
        encoder = SRU(width, width).eval()
        eight, four = copy.deepcopy(encoder), copy.deepcopy(encoder)
        quantize(eight)
        quantize(four, bits=4)
        for matrix in four.modules():
            if isinstance(matrix, CodebookMatrix):
                matrix.fraction = torch.tensor(10)
        for batch in BATCHES:
            x = torch.randn(batch, 1, width)
            _, state = encoder.forward_with_state(x)
            contenders = {"floats": encoder, "8 bits": eight, "4 bits": four}
            runs: dict[str, Run] = {
                name: partial(one.forward_with_state, x, state) for name, one in contenders.items()
            }
            times = measured(runs)
            row = [str(width), str(batch), *(f"{t:.0f}" for t in times.values())]
            print("|", " | ".join([*row, f"{times['floats'] / times['4 bits']:.2f}"]), "|")


@torch.inference_mode()
def main() -> None:
    """Prints the tables."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{processor()}, torch {torch.__version__}, kernels: {extension.cpu_level() or 'none'}\n")
    products()
    print()
    steps()


if __name__ == "__main__":
    main()
