"""Runs the kernels once through every option, forward and backward, for a memory checker.

    compute-sanitizer --tool memcheck python benchmarks/exercise.py

Sizes leave pieces everywhere: of a vector, of a tile, of a chunk of steps. Whether results are
right is for the tests to say.
"""

import argparse
from itertools import product

import torch

from srulight.ops import extension, sru

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def exercise(device: str, dtype: torch.dtype, channels: int, *, whole: bool, gate: bool) -> None:
    """Runs both passes.

    Args:
        device: Where.
        dtype: Type of the gates.
        channels: Number of channels.
        whole: Whether all of T is real, in one direction, with no state or mask; otherwise all of
            these options at once.
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
    """Goes through the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    device = parser.parse_args().device
    if not extension.load(device):
        raise SystemExit(extension.status[device])
    for dtype, channels, whole, gate in product(DTYPES, (64, 38, 6), (True, False), (True, False)):
        exercise(device, dtype, channels, whole=whole, gate=gate)
    if device == "cuda":
        torch.cuda.synchronize()
    print("exercised")


if __name__ == "__main__":
    main()
