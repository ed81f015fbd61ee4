"""Runs the kernels with every option, forward and backward, for a memory checker.

    compute-sanitizer --tool memcheck python benchmarks/exercise.py

The sizes are not multiples of a vector, a tile or a chunk of steps. This program does not check the
results; the tests do.
"""

import argparse
from itertools import product

import torch

from srulight.ops import extension, sru

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def exercise(device: str, dtype: torch.dtype, channels: int, *, whole: bool, gate: bool) -> None:
    """Runs the forward and the backward pass once.

    Args:
        device: Device type to run on.
        dtype: Dtype of the gates.
        channels: Number of channels.
        whole: Whether to use one direction and sequences without padding, initial state or dropout
            mask. Otherwise all these options are on.
        gate: Whether the skip is a fourth gate.
    """
    batch, steps = 3, 37
    wide = torch.float64 if dtype == torch.float64 else torch.float32

    def draw(*shape: int, kind: torch.dtype = dtype) -> torch.Tensor:
        return torch.randn(*shape, dtype=kind, device=device).requires_grad_()

    leaves = [draw(batch, steps, 4 if gate else 3, channels)]
    leaves += [] if gate else [draw(batch, steps, channels)]
    v, b, c0 = draw(2, channels, kind=wide), draw(2, channels, kind=wide), None
    mask = lengths = None
    if not whole:
        c0 = draw(batch, channels, kind=wide)
        mask = torch.ones(batch, channels, dtype=wide, device=device)
        lengths = torch.tensor([steps, 1, 17], device=device)
    h, last = sru(
        leaves[0], None if gate else leaves[1], v, b, c0, mask, lengths,
        activation="identity" if whole else "tanh", bidirectional=not whole,
    )  # fmt: skip
    leaves += [v, b] if c0 is None else [v, b, c0]
    torch.autograd.grad(h.float().sum() + last.sum(), leaves)


def main() -> None:
    """Runs all combinations of options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="device type to run on (%(default)s)")
    device = parser.parse_args().device
    if not extension.load(device):
        raise SystemExit(extension.status[device])
    for dtype, channels, whole, gate in product(DTYPES, (64, 38, 6), (True, False), (True, False)):
        exercise(device, dtype, channels, whole=whole, gate=gate)
    if device == "cuda":
        torch.cuda.synchronize()
    print("all options have run")


if __name__ == "__main__":
    main()
