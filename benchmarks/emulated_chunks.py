"""Counts the steps that a GPU's warps would wait for, in chunks of time and in order.

    python tests/ops/emulator/build.py FOLDER
    SRULIGHT_PREBUILT=FOLDER python benchmarks/emulated_chunks.py

The GPU's kernels run on an emulated GPU with 100 multiprocessors, without a GPU, so these are
counts and not times. The weights are those of a new SRU unless a column says otherwise. The
critical path of a launch is the longest chain of steps of one warp, and that of a pass is the sum
over its launches. "Sweeps" is the number of launches that processed any step. A path that is a
tenth as long as the sequence would be ten times as fast if nothing but the chain cost time;
launches and memory make it less.
"""

import argparse
import ctypes

import torch

from srulight.encoders.sru import SRU, SRULayer
from srulight.ops import extension
from srulight.runtime.provenance import today, versions

LAUNCHES = {"forward": 6, "backward": 2}
WARMUP = 64  # steps that lead to a guess
CASES = {
    "initial": (1.0, 0.0),
    "forget bias 3": (1.0, 3.0),
    "peephole 3 times as large": (3.0, 0.0),
    "peephole 30 times as large": (30.0, 0.0),
}


def library() -> ctypes.CDLL:
    """Loads the library of the emulated GPU.

    Raises:
        SystemExit: If the kernels in use are not those of the emulated GPU.
    """
    extension.load("cpu")
    found = extension.status["cpu"]
    if "emulated" not in found:
        raise SystemExit(f"expected SRULIGHT_PREBUILT=FOLDER with the emulated GPU, got {found}")
    return ctypes.CDLL(found.removeprefix("loaded from ").rpartition(", for ")[0])


def measure(
    gpu: ctypes.CDLL, size: tuple[int, int, int], factor: float, bias: float
) -> dict[str, tuple[int, int, int]]:
    """Returns the steps of a chunk, the sweeps and the critical path of each pass."""
    steps, batch, width = size
    torch.manual_seed(0)
    encoder = SRU(width, width, num_layers=1)
    layer = encoder.layers[0]
    assert isinstance(layer, SRULayer)
    assert layer.peephole is not None
    x = torch.randn(batch, steps, width)
    with torch.no_grad():
        u = torch.nn.functional.linear(x, layer.weight).unflatten(-1, (3, width))
        v = layer.peephole * factor
        b = layer.bias + torch.tensor([[bias], [0.0]])
    options = (layer.scale, 0, False)
    tiles = batch * ((width + 31) // 32)
    found = {}
    _, _, c = torch.ops.srulight.sru(u, x, v, b, None, None, None, *options, True, 0)
    for name, launches in LAUNCHES.items():
        noted = torch.zeros(launches * (steps // 16 + 1) * tiles, dtype=torch.int32)
        gpu.srulight_force_plan(
            ctypes.c_int64(-1), ctypes.c_int64(0), 0, ctypes.c_float(0),
            ctypes.c_void_p(noted.data_ptr()),
        )  # fmt: skip
        if name == "forward":
            torch.ops.srulight.sru(u, x, v, b, None, None, None, *options, True, -1)
        else:
            grad = torch.randn(batch, steps, width)
            torch.ops.srulight.sru_backward(
                u, x, v, b, None, None, c, grad, None, *options, -1
            )  # fmt: skip
        found[name] = path(noted, tiles, launches, steps)
    return found


def path(noted: torch.Tensor, tiles: int, launches: int, steps: int) -> tuple[int, int, int]:
    """Returns the steps of a chunk, the sweeps and the critical path from what kernels noted."""
    if not noted.any():
        return steps, 1, steps
    # The first launch guesses the start of the first chunk only in the backward pass.
    chunk = int(noted[0]) - (WARMUP if launches == LAUNCHES["backward"] else 0)
    chunks = -(-steps // chunk)
    swept = noted[: launches * chunks * tiles].view(launches, chunks, tiles)
    each = swept.amax((1, 2))
    if launches == LAUNCHES["forward"]:
        each[-1] = swept[-1].sum(0).max()  # one warp processes the chunks of a tile in order
    return chunk, int((each > 0).sum()), int(each.sum())


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        default=["4096,8,1024", "16384,1,512", "65536,1,1024"],
        metavar="T,B,D",
        help="steps, sequences and channels (default: %(default)s)",
    )
    args = parser.parse_args()
    gpu = library()
    print(f"{versions('torch')['torch']}, {today()}\n")
    print("| T, B, d | weights | pass | chunk | sweeps | critical path | in order / path |")
    print("|---|---|---|---|---|---|---|")
    for text in args.sizes:
        steps, batch, width = (int(part) for part in text.split(","))
        for case, (factor, bias) in CASES.items():
            found = measure(gpu, (steps, batch, width), factor, bias)
            for name, (chunk, sweeps, longest) in found.items():
                print(
                    f"| {text} | {case} | {name} | {chunk} | {sweeps} | {longest:,}"
                    f" | {steps / longest:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
