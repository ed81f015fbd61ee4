"""Compares what a trained model can become: its difference, its size and its latency.

    taskset -c 0 python benchmarks/deployment.py models
    taskset -c 0 python benchmarks/deployment.py layers

``models`` builds the networks of a classifier, a language model, a speech recognizer and a
translator with one step of training, because only their sizes matter here. It writes each as
every variant of ``VARIANTS``, and compares the variants with the float32 checkpoint. ``layers``
compares layers of SRU with an LSTM of the same width in other runtimes. The contenders take turns,
on one thread, whose processor time counts.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from srulight.bench.adapters.onnx_runtime import OnnxLSTM
from srulight.bench.adapters.openvino import OpenVinoLSTM
from srulight.bench.cases import Case
from srulight.bench.contenders import Contender, SkippedError
from srulight.bench.timing import Run, rounds, warm_up
from srulight.checkpoint import load
from srulight.cli import main as srulight
from srulight.encoders import SRU
from srulight.export.comparison import difference
from srulight.export.formats import Compiled, Onnx, onnx_runner, program_of
from srulight.export.networks.base import Model, Sizes, Tensors
from srulight.export.onnx_program import to_onnx
from srulight.export.tasks import network_of
from srulight.quantization import calibrate, quantize
from srulight.quantization.integer import multiply, packed, round_rows, round_weight
from srulight.runtime.machine import processor
from srulight.tasks.base import Task

BATCHES = (1, 32)
CONFIGURATIONS = ("quickstart", "language_model", "speech", "translation")
WIDTH = {
    "quickstart": "--model.encoder.init_args.hidden_size",
    "language_model": "--model.encoder.init_args.hidden_size",
    "speech": "--model.encoder.init_args.hidden_size",
    "translation": "--model.translator.init_args.decoder.init_args.hidden_size",
}
"""Option of the width of the encoder, or of the decoder."""

Answer = Callable[[Tensors], Tensors]
Variant = tuple[Answer, int]
"""Computes the outputs of a model, and its size in bytes."""


def in_torch(task: Task, name: str) -> Variant:
    """Runs a model of a task with PyTorch."""
    model = next(one for one in network_of(task).models() if one.name == name)
    return model.run, sum(one.numel() * one.element_size() for one in task.state_dict().values())


def floats(task: Task, model: Model, folder: Path) -> Variant:
    """The checkpoint in float32."""
    return in_torch(task, model.name)


def bfloat16(task: Task, model: Model, folder: Path) -> Variant:
    """The checkpoint with weights and activations in bfloat16."""
    module = copy.deepcopy(model.module).to(torch.bfloat16)
    size = sum(2 * one.numel() for one in task.state_dict().values())

    def answer(inputs: Tensors) -> Tensors:
        found = module(*(x.bfloat16() if x.is_floating_point() else x for x in inputs))
        return found if isinstance(found, tuple) else (found,)

    return answer, size


def integers(task: Task, model: Model, folder: Path) -> Variant:
    """The checkpoint that the command ``quantize`` makes, with dynamic ranges."""
    small = copy.deepcopy(task)
    quantize(small)
    return in_torch(small, model.name)


def codebooks(task: Task, model: Model, folder: Path) -> Variant:
    """The checkpoint that ``quantize --bits=4`` makes, with ranges from random inputs."""
    small = copy.deepcopy(task)
    quantize(small, bits=4)
    found = next(one for one in network_of(small).models() if one.name == model.name)
    drawn = [found.draw(sizes_of(found, 8, 32)) for _ in range(8)]
    calibrate(small, drawn, lambda inputs: found.run(inputs))
    return in_torch(small, model.name)


def onnx(task: Task, model: Model, folder: Path) -> Variant:
    """The export to ONNX, in ONNX Runtime."""
    answer = Onnx().write(model, folder)
    return answer, sum(path.stat().st_size for path in folder.glob(f"{model.name}.onnx*"))


def compiled(task: Task, model: Model, folder: Path) -> Variant:
    """The export to AOTInductor."""
    answer = Compiled().write(model, folder)
    return answer, (folder / f"{model.name}.pt2").stat().st_size


VARIANTS: dict[str, Callable[[Task, Model, Path], Variant]] = {
    "float32": floats,
    "bfloat16": bfloat16,
    "int8": integers,
    "4 bits": codebooks,
    "ONNX Runtime": onnx,
    "AOTInductor": compiled,
}
"""What a checkpoint can become, by its name in the table; the first one is the reference."""


def timed(runs: dict[str, Run], seconds: float) -> dict[str, float]:
    """Returns the median processor time of each contender, in milliseconds."""
    warm = {name: warm_up(run) for name, run in runs.items()}
    each = [times for _, times in rounds(runs, warm, seconds, 5, clock="cpu")]
    return {name: 1e3 * median(one[name] for one in each) for name in runs}


def built(name: str, width: int, folder: Path) -> Path:
    """Trains a configuration for one step, and returns the path of its checkpoint."""
    srulight([
        "fit", f"--config=configs/{name}.yaml", f"{WIDTH[name]}={width}",
        "--trainer.max_steps=1", "--trainer.limit_val_batches=1", "--trainer.max_epochs=1",
        f"--trainer.default_root_dir={folder / name}", "--trainer.enable_progress_bar=false",
    ])  # fmt: skip
    return next((folder / name).rglob("last.ckpt"))


def sizes_of(model: Model, batch: int, steps: int) -> Sizes:
    """Returns the sizes of the named dimensions of a model."""
    names = {size for shape in model.inputs.values() for size in shape if isinstance(size, str)}
    return {name: max(steps, model.least.get(name, 1)) for name in names} | {"batch": batch}


def models(options: argparse.Namespace) -> None:
    """Prints the table of models."""
    print("| model | parameters | variant | difference | size, kB | " + " | ".join(
        f"batch {b}, ms | times as fast" for b in BATCHES) + " |")  # fmt: skip
    print("|---|---|---|---|---|" + "---|---|" * len(BATCHES))
    with tempfile.TemporaryDirectory() as root:
        for name in options.only or CONFIGURATIONS:
            task = load(str(built(name, options.width, Path(root))))
            count = sum(one.numel() for one in task.parameters())
            for model in network_of(task).models():
                if model.name != "features":
                    for row in rows_of(name, count, task, model, Path(root) / name, options):
                        print("|", " | ".join(row), "|", flush=True)


@torch.no_grad()
def rows_of(
    name: str, count: int, task: Task, model: Model, folder: Path, options: argparse.Namespace
) -> Iterator[list[str]]:
    """Measures the variants of a model, and yields a row of the table for each."""
    chosen = {k: v for k, v in VARIANTS.items() if k not in options.without}
    variants = {key: make(task, model, folder) for key, make in chosen.items()}
    reference = next(iter(variants))
    largest = dict.fromkeys(variants, 0.0)
    times: dict[str, list[float]] = {key: [] for key in variants}
    for batch in BATCHES:
        inputs = model.draw(sizes_of(model, batch, options.steps))
        expected = variants[reference][0](inputs)
        for key, (answer, _) in variants.items():
            pairs = zip(expected, answer(inputs), strict=True)
            worst = max(difference(a.float(), b.float()).largest for a, b in pairs)
            largest[key] = max(largest[key], worst)
        runs: dict[str, Run] = {
            key: lambda answer=answer, inputs=inputs: answer(inputs)  # type: ignore[misc]
            for key, (answer, _) in variants.items()
        }
        for key, one in timed(runs, options.seconds).items():
            times[key].append(one)
    for key, (_, size) in variants.items():
        measured = [
            cell
            for one, base in zip(times[key], times[reference], strict=True)
            for cell in (f"{one:.3g}", f"{base / one:.2f}")
        ]
        yield [f"{name}, {model.name}", f"{count:,}", key, f"{largest[key]:.1e}",
               f"{size / 1000:.0f}", *measured]  # fmt: skip


class Encoded(nn.Module):
    """An encoder without lengths."""

    def __init__(self, encoder: SRU) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)


def in_onnx_runtime(encoder: SRU, x: Tensor) -> Run:
    """Translates an encoder to ONNX, and runs it in ONNX Runtime."""
    features = x.size(-1)

    def draw(sizes: Sizes) -> Tensors:
        return (torch.randn(sizes["B"], sizes["T"], features),)

    model = Model("sru", "", Encoded(encoder), {"x": ("B", "T", features)},
                  {"y": ("B", "T", features)}, draw, {})  # fmt: skip
    shapes: dict[str, list[str | int]] = {"y": ["B", "T", features]}
    proto = to_onnx(program_of(model), {"x": ["B", "T", features]}, shapes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sru.onnx")
        path.write_bytes(proto.SerializeToString())
        answer = onnx_runner(path, ["x"])
    return lambda: answer((x,))


LSTMS: tuple[tuple[Contender, str], ...] = (
    (OnnxLSTM("LSTM in ONNX Runtime", "", int8=False), "float32"),
    (OnnxLSTM("LSTM in ONNX Runtime, int8", "", int8=True), "float32"),
    (OpenVinoLSTM("LSTM in OpenVINO", "", int8=False, needs=("openvino",)), "float32"),
    (OpenVinoLSTM("LSTM in OpenVINO, bfloat16", "", int8=False, needs=("openvino",)), "bfloat16"),
)


def layer_runs(batch: int, steps: int, width: int) -> dict[str, Run]:
    """Returns the contenders of the table of layers by name; notes those that cannot run."""
    x = torch.randn(batch, steps, width)
    runs: dict[str, Run] = {}
    for layers in (1, 2):
        encoder = SRU(width, width, layers).eval()
        small = copy.deepcopy(encoder)
        quantize(small)
        title = f"SRU, {layers} layer{'s' if layers > 1 else ''}"
        runs[title] = lambda encoder=encoder: encoder(x)  # type: ignore[misc]
        runs[f"{title}, int8"] = lambda small=small: small(x)  # type: ignore[misc]
        runs[f"{title}, in ONNX Runtime"] = in_onnx_runtime(encoder, x)
    # The products of one layer of SRU alone, without the recurrence.
    rows, weight = x.flatten(0, 1), torch.randn(3 * width, width) / width**0.5
    values, scale = round_weight(weight)
    integers = packed(values)
    rounded = round_rows(rows)
    runs["product of one layer of SRU"] = lambda: nn.functional.linear(rows, weight)
    runs["product of one layer of SRU, int8"] = lambda: multiply(rounded, integers, scale)
    runs["rounding of its activations"] = lambda: round_rows(rows)
    for contender, dtype in LSTMS:
        if contender.missing():
            print(f"{contender.name}: left out, because {contender.missing()[0]} is not installed")
            continue
        try:
            case = Case("forward", steps, width, batch, dtype=dtype)
            runs[contender.name] = contender.prepare(case)
        except SkippedError as error:
            print(f"{contender.name}: left out, because it {error}")
    return runs


@torch.no_grad()
def layers(options: argparse.Namespace) -> None:
    """Prints the table of layers."""
    for batch in BATCHES:
        runs = layer_runs(batch, options.steps, options.width)
        times = timed(runs, options.seconds)
        fastest = min(one for name, one in times.items() if name.startswith("LSTM"))
        print(f"\n| B {batch}, T {options.steps}, d {options.width} | ms | fastest LSTM / this |")
        print("|---|---|---|")
        for name, one in times.items():
            print(f"| {name} | {one:.3g} | {fastest / one:.2f} |", flush=True)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=("models", "layers"))
    parser.add_argument("--width", type=int, default=256, help="number of units (default: 256)")
    parser.add_argument("--steps", type=int, default=128, help="number of steps (default: 128)")
    parser.add_argument("--seconds", type=float, default=5.0,
                        help="duration of each measurement, in seconds (default: 5)")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=CONFIGURATIONS,
                        help="configurations of the table of models (default: all)")  # fmt: skip
    parser.add_argument("--without", nargs="+", choices=list(VARIANTS)[1:], default=[],
                        help="variants to leave out (default: none)")  # fmt: skip
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{processor()}, torch {torch.__version__}, one thread\n")
    {"models": models, "layers": layers}[options.table](options)


if __name__ == "__main__":
    main()
