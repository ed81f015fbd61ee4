"""Measures stacks of SRU layers on few and short sequences: as one operator, and layer after layer.

    taskset -c 0 python benchmarks/short_inputs.py

The contenders take turns, on one thread, whose processor time counts. What remains of a time after
the time of the matrix products is mostly the fixed cost of Python and of calling operators.
"""

import argparse
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.bench.machine import describe, in_short
from srulight.bench.timing import Run, rounds, warm_up
from srulight.encoders import LSTM, SRU
from srulight.encoders.sru import SRULayer
from srulight.runtime.provenance import today, versions

# Width D, layers L, sequences B and steps T.
SIZES = (
    (64, 2, 1, 1), (64, 4, 1, 1), (128, 4, 1, 1), (256, 4, 1, 1), (512, 4, 1, 1),
    (128, 4, 8, 1), (128, 4, 1, 8), (128, 4, 1, 32), (256, 4, 1, 32),
)  # fmt: skip
SECONDS = 0.5


def layer_after_layer(encoder: SRU, x: Tensor, state: Tensor) -> None:
    """Encodes steps as ``SRU`` does where it cannot use the operator for a whole stack."""
    states = []
    for layer, c in zip(encoder.layers, state.unbind(), strict=True):
        x, last = layer(x, c)
        states.append(last)
    torch.stack(states)


def products(encoder: SRU, x: Tensor) -> None:
    """Computes only the matrix products."""
    for layer in encoder.layers:
        assert isinstance(layer, SRULayer)
        F.linear(x, layer.weight)


def main() -> None:
    """Prints a row for each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    torch.set_num_threads(1)
    print(f"{in_short(describe('cpu'), versions())}, {today()}\n")
    heads = (
        "D, L, B, T", "products", "one operator", "layer after layer", "LSTM", "fixed cost, times",
    )  # fmt: skip
    print("|", " | ".join(heads), "|")
    print("|---" * len(heads) + "|")
    for width, layers, batch, steps in SIZES:
        encoder = SRU(width, width, layers).eval()
        lstm = LSTM(width, width, layers).eval()
        x, state = torch.randn(batch, steps, width), torch.zeros(layers, batch, width)
        with torch.inference_mode():
            runs: dict[str, Run] = {
                "products": partial(products, encoder, x),
                "stack": partial(encoder.forward_with_state, x, state),
                "layers": partial(layer_after_layer, encoder, x, state),
                "lstm": partial(lstm.forward_with_state, x),
            }
            warm = {name: warm_up(run) for name, run in runs.items()}
            each = [times for _, times in rounds(runs, warm, SECONDS, 9, clock="cpu")]
        us = {name: 1e6 * median(one[name] for one in each) for name in runs}
        less = (us["stack"] - us["products"]) / (us["layers"] - us["products"])
        cells = [f"{width}, {layers}, {batch}, {steps}", *(f"{t:.0f}" for t in us.values())]
        print("|", " | ".join([*cells, f"{less:.2f}"]), "|", flush=True)


if __name__ == "__main__":
    main()
