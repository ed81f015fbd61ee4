"""Counts the instructions of the CPU kernels, with valgrind.

    python benchmarks/instructions.py

One process runs a layer of each dtype forward and backward under callgrind, which takes some
minutes. The table has the instructions for a channel of a step in the recurrence, and for a
vector of multiplications in the fused product. valgrind has no AVX-512 and counts AVX2 there.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SIZE = (4, 128, 256)
"""Sequences, steps and channels."""
KERNELS = ("forward_kernel", "backward_kernel", "tile_product", "pack_weight")
LANES = 8
"""Floats in a vector of AVX2."""


def layers() -> None:
    """Runs a layer of each dtype forward and backward, on one thread."""
    import torch

    from srulight.ops import sru_layer

    torch.set_num_threads(1)
    batch, steps, width = SIZE
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = torch.randn(batch, steps, width).to(dtype).requires_grad_()
        weight = torch.randn(3 * width, width).div(width**0.5).to(dtype)
        h, _ = sru_layer(x, weight, x, torch.randn(2, width), torch.randn(2, width))
        h.sum().backward()


def count(folder: Path) -> dict[tuple[str, str], int]:
    """Runs ``layers`` under callgrind.

    Args:
        folder: Folder for its output.

    Returns:
        The instructions by kernel and dtype.
    """
    out = folder / "callgrind.out"
    command = [
        "valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable, __file__,
        "layers",
    ]  # fmt: skip
    env = {**os.environ, "SRULIGHT_FUSED": "on", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=env, stderr=subprocess.DEVNULL)
    shown = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", str(out)]
    text = subprocess.run(shown, check=True, capture_output=True, text=True).stdout
    line = re.compile(r"^\s*([\d,]+) .*?::avx2::(\w+)<(?:[\w:]*::)?(\w+)>", re.MULTILINE)
    found: dict[tuple[str, str], int] = {}
    for number, kernel, dtype in line.findall(text):
        if kernel in KERNELS:
            found[kernel, dtype] = max(found.get((kernel, dtype), 0), int(number.replace(",", "")))
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["layers"], help=argparse.SUPPRESS)
    if parser.parse_args().what:
        layers()
        return
    with tempfile.TemporaryDirectory() as folder:
        found = count(Path(folder))
    batch, steps, width = SIZE
    numbers = batch * steps * width
    products = 3 * numbers * width // LANES
    print("| dtype | forward | backward | product | reordering the weight |\n|---|---|---|---|---|")
    for dtype in ("float", "BFloat16", "Half"):
        per = [found[kernel, dtype] for kernel in KERNELS]
        print(
            f"| {dtype} | {per[0] / numbers:.2f} | {per[1] / numbers:.2f} | "
            f"{per[2] / products:.2f} | {per[3] / (3 * width * width):.2f} |"
        )


if __name__ == "__main__":
    main()
