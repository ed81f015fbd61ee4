"""Measures the largest difference from the published ``sru`` package for each of its options.

    pip install --no-deps sru==2.6.0
    python benchmarks/parity.py

The table compares outputs, final states and gradients of the input, relative to the largest value
of each. On a CPU, the package trains in plain Python; that path is compared.
"""

import importlib.util
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor

from srulight.compat import from_sru

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.test_compat import OPTIONS, build, import_published

T, B = 200, 8


def difference(got: Tensor, expected: Tensor) -> float:
    """Returns the largest difference divided by the largest value."""
    return ((got - expected).abs().max() / expected.abs().max()).item()


def main() -> None:
    """Prints the table."""
    if importlib.util.find_spec("sru") is None:
        sys.exit("the package sru is not installed; run pip install --no-deps sru==2.6.0")
    warnings.simplefilter("ignore")
    published = import_published()
    print("| option | dtype | output | state | gradient |\n|---|---|---|---|---|")
    for name, options in OPTIONS.items():
        for dtype in (torch.float64, torch.float32):
            torch.manual_seed(0)
            theirs = build(published, options).to(dtype)
            ours = from_sru(theirs)
            x = torch.randn(T, B, theirs.input_size, dtype=dtype, requires_grad=True)
            h, c = theirs(x)
            y = ours(x.transpose(0, 1)).transpose(0, 1)
            state = "-"
            if not theirs.bidirectional and not theirs.nn_rnn_compatible_return:
                state = f"{difference(ours.forward_with_state(x.transpose(0, 1))[1], c):.1e}"
            seed = torch.randn_like(h)
            grads = [torch.autograd.grad(out, x, seed)[0] for out in (y, h)]
            row = [name, str(dtype).removeprefix("torch."), f"{difference(y, h):.1e}", state]
            print("|", " | ".join([*row, f"{difference(*grads):.1e}"]), "|")


if __name__ == "__main__":
    main()
