"""Time of the recurrence and of a recurrent layer on a GPU, beside their floors and other layers.

    python benchmarks/gpu.py                                  everything, ten minutes
    python benchmarks/gpu.py kernel --sizes 512,32,1024 --published FOLDER

Parts:
    kernel  the recurrence alone: bytes a second, and its share of what a copy of 1 GiB reaches
    layers  one layer, beside its floor (the matrix products alone, and the bytes of the recurrence
            at the speed of that copy) and beside cuDNN's LSTM and GRU and a Conv1d (k = 3)

A figure is the median of times between two events, while the host is ahead. Contenders take turns
within one process; inputs do too, so that none is in cache. bfloat16 is ``torch.autocast`` for
everyone. The published package (``sru`` 2.6) is compared in float32 and, as it has no bfloat16, in
float16. To compile its kernels with a torch of today, ``.type().is_cuda()`` has to become
``.is_cuda()``, and every other ``.type()`` ``.scalar_type()``.
"""

import argparse
import datetime
import sys
from itertools import cycle
from typing import Any

import torch
from contenders import Run, layer_runs, medians
from torch import Tensor

from srulight.ops import extension

SIZES = ("32,32,256", "128,32,512", "512,32,1024", "4096,8,1024", "16384,1,512")
LAYERS = ("SRU", "products", "LSTM", "GRU", "Conv1d")
BEYOND_CACHE = 256 * 2**20
"""Bytes that inputs of a kind take up together; no GPU has so large a cache."""


def copies(elements: int, dtype: torch.dtype) -> int:
    """Says how many tensors of that size are larger than a GPU's cache."""
    return min(64, BEYOND_CACHE // (elements * dtype.itemsize) + 2)


def bytes_a_second(device: str, seconds: float) -> float:
    """Measures what a copy of 1 GiB reads and writes."""
    source = torch.empty(2**30 if device == "cuda" else 2**24, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = medians({"copy": lambda: target.copy_(source)}, seconds, device)
    return 2 * source.numel() / times["copy"]


def turns(runs: list[dict[str, Run]], key: str) -> Run:
    """Makes a function that calls that of the next inputs each time."""
    order = cycle(runs)
    return lambda: next(order)[key]()


def recurrence(sizes: tuple[int, int, int], dtype: torch.dtype, device: str) -> dict[str, Run]:
    """Makes inputs, and functions that run the recurrence over them, with and without backward."""
    steps, batch, size = sizes
    options = (1.0, 0, False)
    u = torch.randn(batch, steps, 3, size, dtype=dtype, device=device)
    x, grad = torch.randn(2, batch, steps, size, dtype=dtype, device=device)
    v, b = torch.randn(2, 2, size, device=device)

    def forward(save: bool) -> Tensor:
        return torch.ops.srulight.sru(u, x, v, b, None, None, None, *options, save)[2]

    def both() -> None:
        c = forward(True)
        torch.ops.srulight.sru_backward(u, x, v, b, None, None, c, grad, None, *options)

    return {"forward": lambda: forward(False), "forward + backward": both}


def published(sizes: tuple[int, int, int], dtype: torch.dtype, device: str) -> dict[str, Run]:
    """The same for the published package, which stores what is narrow in float16."""
    from sru.cuda_functional import ElementwiseRecurrence

    steps, batch, size = sizes
    dtype = torch.float32 if dtype == torch.float32 else torch.float16
    draw: dict[str, Any] = {"dtype": dtype, "device": device}
    u = torch.randn(steps, batch, 3 * size, **draw)
    x, grad = torch.randn(2, steps, batch, size, **draw)
    v, b = torch.randn(2, 2 * size, **draw)
    c0 = torch.zeros(batch, size, **draw)
    leaves = [t.requires_grad_() for t in (u, x, v, b)]

    def forward() -> Tensor:
        options = (0, size, False, True, None, None, None)
        h: Tensor = ElementwiseRecurrence.apply(*leaves, c0, *options)[0]
        return h

    def alone() -> None:
        with torch.no_grad():
            forward()

    return {
        "forward": alone,
        "forward + backward": lambda: torch.autograd.grad(forward(), leaves, grad),
    }


def element_bytes(dtype: torch.dtype, backward: bool) -> float:
    """Bytes an element that the recurrence must move: forward 5 numbers, and backward 9."""
    return dtype.itemsize * (14 if backward else 5)


def kernel(args: argparse.Namespace) -> None:
    """Prints the recurrence alone."""
    for name in args.dtypes:
        dtype = getattr(torch, name)
        speed = bytes_a_second(args.device, args.seconds)
        print(f"\n{name}; a copy moves {speed / 1e9:,.0f} GB/s\n")
        print("| T, B, d | pass | us | GB/s | share of copy | sru2.6 / SRU |\n" + "|---" * 6 + "|")
        for text in args.sizes:
            steps, batch, size = (int(n) for n in text.split(","))
            sizes = steps, batch, size
            elements = steps * batch * size
            count = copies(elements, dtype)
            makers = {"SRU": recurrence} | ({"sru2.6": published} if args.published else {})
            made = {
                n: [f(sizes, dtype, args.device) for _ in range(count)] for n, f in makers.items()
            }
            for key in ("forward", "forward + backward"):
                runs = {name: turns(each, key) for name, each in made.items()}
                t = medians(runs, args.seconds, args.device)
                reached = elements * element_bytes(dtype, key != "forward") / t["SRU"]
                cells = [text, key, f"{1e6 * t['SRU']:.1f}", f"{reached / 1e9:,.0f}"]
                cells += [f"{reached / speed:.2f}"]
                cells += [f"{t['sru2.6'] / t['SRU']:.2f}" if "sru2.6" in t else "-"]
                print("|", " | ".join(cells), "|", flush=True)


def layers(args: argparse.Namespace) -> None:
    """Prints whole layers."""
    for name in args.dtypes:
        dtype = getattr(torch, name)
        speed = bytes_a_second(args.device, args.seconds)
        others = [n for n in args.contenders if n not in ("SRU", "products")]
        print(f"\n{name}; a copy moves {speed / 1e9:,.0f} GB/s\n")
        heads = ["T, B, d", "pass", "SRU us", "SRU / floor", *(f"{n} / SRU" for n in others)]
        print("|", " | ".join(heads), "|\n" + "|---" * len(heads) + "|")
        for text in args.sizes:
            steps, batch, size = (int(n) for n in text.split(","))
            sizes = steps, batch, size
            elements = steps * batch * size
            for backward in (False, True):
                runs = layer_runs(
                    tuple(args.contenders), sizes, dtype,
                    backward=backward, device=args.device, copies=copies(elements, dtype),
                )  # fmt: skip
                t = medians(runs, args.seconds, args.device)
                floor = t["products"] + elements * element_bytes(dtype, backward) / speed
                cells = [text, "forward + backward" if backward else "forward"]
                cells += [f"{1e6 * t['SRU']:.1f}", f"{t['SRU'] / floor:.2f}"]
                cells += [f"{t[n] / t['SRU']:.2f}" for n in others]
                print("|", " | ".join(cells), "|", flush=True)


def main() -> None:
    """Runs the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parts = {"kernel": kernel, "layers": layers}
    parser.add_argument(
        "parts", nargs="*", default=list(parts), metavar="part",
        help=f"{', '.join(parts)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="T,B,d")
    parser.add_argument("--contenders", nargs="+", default=LAYERS)
    parser.add_argument("--seconds", type=float, default=3, help="length of a measurement")
    parser.add_argument("--published", help="folder that holds the published package, sru, mended")
    parser.add_argument("--device", default="cuda", help="cpu: to try this program, not to measure")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is visible to torch")
    if args.published:
        sys.path.insert(0, args.published)
    torch.manual_seed(0)
    extension.load(args.device)
    where = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}, {datetime.date.today().isoformat()}")
    for part in args.parts:
        parts[part](args)


if __name__ == "__main__":
    main()
