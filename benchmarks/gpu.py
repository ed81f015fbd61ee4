"""Measures the recurrence and recurrent layers on a GPU against lower bounds and other layers.

    python benchmarks/gpu.py                                  all parts, ten minutes
    python benchmarks/gpu.py kernel --sizes 512,32,1024 --dtypes bfloat16

Parts:
    kernel     the recurrence alone: bytes per second, also relative to a copy of 1 GiB, and
               the time of the published package
    layers     one layer against its matrix products, against its floor (the products, and the bytes
               of the recurrence at the speed of that copy), cuDNN's LSTM and GRU, and a Conv1d
    attention  one SRU++ layer that attends to all earlier steps or to 256 of them, against causal
               attention of the same width
    stream     single steps of a stream: wall time, and the time of the GPU alone (a captured graph)
    memory     peak memory of a training step, and the memory that it saves for backward
    rivals     the recurrence against those of other packages (HGRN, mamba), in the first dtype

A time is the median of the times between two events, with work queued in advance. Contenders take
turns in one process, and so do inputs, so that none is in the cache. Half types run under
``torch.autocast``, except in ``stream``, where the weights have the type. ``make gpu`` runs all of
this and more (docs/explanation/gpu_kernels.md).
"""

import argparse
import datetime
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import torch
from recurrences import PUBLISHED, RIVALS, Others, Sizes, installed, take_published

from srulight.bench.adapters.published import PUBLISHED as PUBLISHED_LAYER
from srulight.bench.cases import TITLES, Case, Pass
from srulight.bench.contenders import Layer, SkippedError
from srulight.bench.floors import recurrence
from srulight.bench.layers import LAYERS
from srulight.bench.tables import Recorder, Row
from srulight.bench.timing import Run, copies, medians, turns
from srulight.encoders import GRU, LSTM, SRU, Recurrent, SRUpp
from srulight.ops import extension

SIZES = ("32,32,256", "128,32,512", "512,32,1024", "4096,8,1024", "16384,1,512")
"""T, B and d. The first two are those of the paper's comparison."""
ATTENTION_SIZES = ("512,8,1024", "2048,8,1024", "8192,1,1024")
STREAM_SIZES = ("1,512,4", "1,1024,1", "32,1024,4")
CONTENDERS = ("SRU", "products", "LSTM", "GRU", "Conv1d-k3", "Conv1d-k2", "published-SRU")
PASSES: tuple[Pass, ...] = ("forward", "training")


def bytes_a_second(args: argparse.Namespace) -> float:
    """Returns the bytes per second that a copy of 1 GiB reads and writes."""
    size = 2**30 if args.device == "cuda" else 2**24
    source = torch.empty(size, dtype=torch.uint8, device=args.device)
    target = torch.empty_like(source)
    times = medians({"copy": lambda: target.copy_(source)}, args.seconds, args.device)
    return 2 * source.numel() / times["copy"]


def element_bytes(dtype: torch.dtype, backward: bool) -> float:
    """Returns the bytes per element that the recurrence moves: 5 numbers forward, 9 backward."""
    return dtype.itemsize * (14 if backward else 5)


def cases(dtypes: list[str], texts: list[str]) -> list[tuple[str, str, Sizes]]:
    """Lists the cases: their dtype, and their sizes as text and as numbers."""
    return [
        (dtype, text, tuple(int(n) for n in text.split(",")))  # type: ignore[misc]
        for dtype, text in product(dtypes, texts)
    ]


def kernel(args: argparse.Namespace, recorder: Recorder) -> None:
    """Measures the recurrence alone."""
    recurrences(args, recorder, PUBLISHED if args.published else {}, args.dtypes)


def rivals(args: argparse.Namespace, recorder: Recorder) -> None:
    """Measures the recurrence against others, in one dtype only because they compile for each."""
    recurrences(args, recorder, RIVALS, args.dtypes[:1])


def recurrences(
    args: argparse.Namespace, recorder: Recorder, others: Others, dtypes: list[str]
) -> None:
    """Measures recurrences against each other."""
    makers = {"SRU": recurrence} | installed(others, args.device)
    speed = bytes_a_second(args)
    for name, text, sizes in cases(dtypes, args.sizes):
        dtype = getattr(torch, name)
        elements = sizes[0] * sizes[1] * sizes[2]
        count = copies(elements, dtype)
        made = {n: [f(sizes, dtype, args.device) for _ in range(count)] for n, f in makers.items()}
        for key in ("forward", "forward + backward"):
            t = medians(
                {n: turns([one[key] for one in m]) for n, m in made.items()},
                args.seconds,
                args.device,
            )
            reached = elements * element_bytes(dtype, key != "forward") / t["SRU"]
            row: Row = {"dtype": name, "T, B, d": text, "pass": key, "us": 1e6 * t["SRU"]}
            row |= {"GB/s": reached / 1e9, "share of copy": reached / speed}
            row |= {"copy GB/s": speed / 1e9}
            recorder.add(row | {f"{n} / SRU": t[n] / t["SRU"] for n in makers if n != "SRU"})


def layers(args: argparse.Namespace, recorder: Recorder) -> None:
    """Measures whole layers."""
    others = [n for n in args.contenders if n not in ("SRU", "products")]
    if not args.published or not installed(PUBLISHED, args.device):
        others = [n for n in others if n != PUBLISHED_LAYER.name]
    speed = bytes_a_second(args)
    for (name, text, sizes), passing in product(cases(args.dtypes, args.sizes), PASSES):
        case = case_of(passing, sizes, name, args.device)
        t = medians(layer_runs(("SRU", "products", *others), case), args.seconds, args.device)
        floor = t["products"] + case.moved / speed
        row: Row = {"dtype": name, "T, B, d": text, "pass": TITLES[passing]}
        row |= {"us": 1e6 * t["SRU"], "SRU / product": t["SRU"] / t["products"]}
        row |= {"SRU / floor": t["SRU"] / floor}
        recorder.add(row | {f"{n} / SRU": t[n] / t["SRU"] if n in t else None for n in others})


def case_of(passing: Pass, sizes: Sizes, dtype: str, device: str) -> Case:
    """Creates the case of a pass, of sizes T, B and d, and of a dtype."""
    steps, batch, size = sizes
    return Case(passing, steps, size, batch, dtype, torch.get_num_threads(), device)


def layer_of(name: str) -> Layer:
    """Returns a contender by its name."""
    return PUBLISHED_LAYER if name == PUBLISHED_LAYER.name else LAYERS[name]


def layer_runs(names: tuple[str, ...], case: Case) -> dict[str, Run]:
    """Creates a function for each contender that runs it once, without those that cannot run."""
    runs = {}
    for name in names:
        with suppress(SkippedError):
            runs[name] = layer_of(name).prepare(case)
    return runs


def attention(args: argparse.Namespace, recorder: Recorder) -> None:
    """Measures SRU++ against attention."""
    names = ("attention", "SRU++", "SRU++-band")
    for (name, text, sizes), passing in product(cases(args.dtypes, args.sizes), PASSES):
        case = case_of(passing, sizes, name, args.device)
        t = medians(layer_runs(names, case), args.seconds, args.device)
        row: Row = {"dtype": name, "T, B, d": text, "pass": TITLES[passing]}
        row |= {f"{n} us": 1e6 * t[n] for n in names}
        recorder.add(row | {f"attention / {n}": t["attention"] / t[n] for n in names[1:]})


def stream(args: argparse.Namespace, recorder: Recorder) -> None:
    """Measures single steps of a stream."""
    makers: dict[str, Callable[..., Recurrent]] = {"SRU": SRU, "SRU++": SRUpp, "LSTM": LSTM}
    makers["GRU"] = GRU
    for name, text, (batch, size, depth) in cases(args.dtypes, args.sizes):
        x = torch.randn(batch, 1, size, dtype=getattr(torch, name), device=args.device)
        steps = {
            n: step(maker(size, size, depth).to(x.device, x.dtype).eval(), x)
            for n, maker in makers.items()
        }
        row: Row = {"dtype": name, "B, d, layers": text}
        t = medians({n: on_the_clock(run) for n, run in steps.items()}, args.seconds, "cpu")
        row |= {"us on the clock": 1e6 * t["SRU"]}
        row |= {f"{n} / SRU": t[n] / t["SRU"] for n in steps if n != "SRU"}
        if args.device == "cuda":
            t = medians({n: captured(run) for n, run in steps.items()}, args.seconds, "cuda")
            row |= {"us on the GPU": 1e6 * t["SRU"]}
            row |= {f"{n} / SRU on the GPU": t[n] / t["SRU"] for n in steps if n != "SRU"}
        recorder.add(row)


def step(module: Recurrent, x: torch.Tensor) -> Run:
    """Creates a function that runs one step from an existing state."""
    with torch.no_grad():
        state = module.forward_with_state(x)[1]

    def run() -> None:
        with torch.no_grad():
            module.forward_with_state(x, state)

    return run


def on_the_clock(run: Run) -> Run:
    """Creates a function that waits until the GPU, if there is one, has finished."""

    def wait() -> None:
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return wait


def captured(run: Run) -> Run:
    """Captures a function in a CUDA graph and returns the function that replays it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def memory(args: argparse.Namespace, recorder: Recorder) -> None:
    """Measures the memory of training, in multiples of the memory of the output."""
    for name, text, sizes in cases(args.dtypes, args.sizes):
        dtype = getattr(torch, name)
        unit = sizes[0] * sizes[1] * sizes[2] * dtype.itemsize
        row: Row = {"dtype": name, "T, B, d": text, "MB of an output": unit / 1e6}
        for layer in ("SRU", "LSTM", "GRU", "Conv1d-k3"):
            saved, peak = held(layer, case_of("training", sizes, name, args.device))
            row[f"{layer} saved"] = saved / unit
            row[f"{layer} peak"] = None if peak is None else peak / unit
        recorder.add(row)


def held(name: str, case: Case) -> tuple[float, float | None]:
    """Returns the bytes saved for backward and the peak bytes allocated in a training step."""
    device = case.device_type
    layer = layer_of(name).make(case.width).to(device)
    x = layer_of(name).draw(case).requires_grad_()
    kept: dict[int, int] = {}

    def pack(t: Any) -> Any:  # noqa: ANN401
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    for _ in range(2):  # the first run may allocate memory that stays
        kept.clear()
        layer.zero_grad()
        x.grad = None
        before = 0
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        with (
            case.autocast(),
            torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t),
        ):
            out = layer(x)
        out = out if isinstance(out, torch.Tensor) else out[0]
        out.backward(torch.ones_like(out))
    peak = torch.cuda.max_memory_allocated() - before if device == "cuda" else None
    weights = {p.untyped_storage().data_ptr() for p in layer.parameters()}
    return sum(size for place, size in kept.items() if place not in weights), peak


PARTS = {f.__name__: f for f in (kernel, layers, attention, stream, memory, rivals)}
OWN_SIZES = {"attention": ATTENTION_SIZES, "stream": STREAM_SIZES}


def main() -> None:
    """Runs the requested parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", default=list(PARTS), metavar="part",
        help=f"parts to run: {', '.join(PARTS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--dtypes", nargs="+", default=["bfloat16", "float32", "float16"], help="dtypes to measure"
    )
    parser.add_argument(
        "--sizes", nargs="+", help="sizes to measure, as T,B,d, or for stream as B,d,layers"
    )
    parser.add_argument(
        "--tf32", action="store_true",
        help="let float32 products, convolutions and LSTMs round their inputs to 10 bits",
    )  # fmt: skip
    parser.add_argument(
        "--contenders", nargs="+", default=CONTENDERS, help="layers to compare in the part layers"
    )
    parser.add_argument(
        "--seconds", type=float, default=3,
        help="duration of each measurement, in seconds (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--published", type=Path,
        help="folder for a copy of the published package, patched so that it compiles; without\n"
        "this option the package is not measured",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="JSON lines file that rows are appended to")
    parser.add_argument(
        "--device", default="cuda", help="device type; cpu only tries the program out"
    )
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is visible to torch; pass --device=cpu to try the program out")
    if args.published is not None:
        take_published(args.published.absolute())
    torch.manual_seed(0)
    # By default, torch rounds in convolutions and LSTMs, but not in products.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.tf32
    extension.load(args.device)
    where = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}, {datetime.date.today().isoformat()}")
    print(f"kernels: {extension.status[args.device]}")
    asked = args.sizes
    for part in args.parts:
        begin = time.perf_counter()
        args.sizes = asked or OWN_SIZES.get(part, SIZES)
        PARTS[part](args, Recorder(part, args.json))
        print(f"\n{part}: {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
