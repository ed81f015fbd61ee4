"""Measures how the metrics of models depend on the bits of weights and activations.

    taskset -c 0 python benchmarks/codebook_accuracy.py --epochs 3 --picture accuracy.svg

It needs three runs, one of each configuration, and trains those that ``--runs`` lacks. Then it
quantizes the best checkpoint of each in several ways, and tests all results. The data is generated
by srulight. The picture needs matplotlib.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from srulight.checkpoint import read, restore
from srulight.commands.quantize_report import stored_bytes
from srulight.commands.quantize_training import calibrate_task, fine_tune
from srulight.commands.training import TrainingCLI, build, quiet, silence_noise
from srulight.quantization import quantize
from srulight.runtime.machine import processor

ROOT = Path(__file__).parents[1]
MODELS = {
    "quickstart": ("accuracy", "classifier, accuracy"),
    "language_model": ("perplexity", "language model, perplexity"),
    "speech": ("wer", "speech recognizer, word error rate"),
}
"""For each configuration, its metric and a description."""
ACTIVATION_BITS = (16, 8, 6, 4)
BATCHES = 16
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


def trained(name: str, runs: Path) -> Path:
    """Returns the best checkpoint of a configuration, which it trains if there is none."""
    path = runs / name / "version_0" / "checkpoints" / "best.ckpt"
    if not path.is_file():
        build(
            [
                "fit", f"--config={ROOT / 'configs' / name}.yaml",
                f"--trainer.default_root_dir={runs / name}", *QUIET,
            ]
        )  # fmt: skip
    return path


def measured(
    cli: TrainingCLI, path: Path, metric: str, bits: int, activation_bits: int, epochs: int
) -> tuple[float, int]:
    """Quantizes a checkpoint; returns its metric, and the bytes of its weights."""
    stored = read(path)
    task = restore(path, stored)
    parameters = [parameter for parameter in task.parameters() if parameter.requires_grad]
    if bits == 8:
        quantize(task)
    elif bits == 4:
        torch.manual_seed(0)
        quantize(task, bits=4, activation_bits=activation_bits)
        calibrate_task(task, cli, BATCHES)
        if epochs:
            fine_tune(task, cli, parameters, epochs, None)
    with quiet():
        cli.trainer.test(task, datamodule=cli.datamodule, verbose=False)
    return float(cli.trainer.callback_metrics[f"test/{metric}"]), stored_bytes(task.state_dict())


def rows(cli: TrainingCLI, path: Path, metric: str, epochs: int) -> dict[str, float]:
    """Returns the metric of each way to quantize a checkpoint, and prints it."""
    ways = {"float32": (32, 32, 0), "8 bits": (8, 8, 0)}
    for bits in ACTIVATION_BITS:
        ways[f"4 bits, activations {bits}"] = (4, bits, 0)
    for bits in reversed(ACTIVATION_BITS):
        ways[f"4 bits, activations {bits}, fine-tuned"] = (4, bits, epochs)
    found = {}
    for name, (bits, activation_bits, count) in ways.items():
        start = time.perf_counter()
        found[name], size = measured(cli, path, metric, bits, activation_bits, count)
        seconds = time.perf_counter() - start
        print(f"| {name} | {found[name]:.4f} | {size / 1e6:.3f} | {seconds:.1f} |", flush=True)
    return found


def draw(found: dict[str, dict[str, float]], path: Path) -> None:
    """Draws a panel per model: the metric against the bits of an activation."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(found), figsize=(4 * len(found), 3.4), squeeze=False)
    for panel, (name, values) in zip(panels[0], found.items(), strict=True):
        panel.axhline(values["float32"], color="0.3", label="float32")
        panel.axhline(values["8 bits"], color="tab:green", linestyle=":", label="8-bit weights")
        for end, style in (("", "o--"), (", fine-tuned", "s-")):
            line = [values[f"4 bits, activations {bits}{end}"] for bits in ACTIVATION_BITS]
            panel.plot(ACTIVATION_BITS, line, style, label=f"4-bit weights{end}")
        what, _, metric = MODELS[name][1].rpartition(", ")
        panel.set(title=what, xlabel="bits of an activation", ylabel=metric)
        panel.set_xscale("log", base=2)
        panel.set_xticks(ACTIVATION_BITS, [str(bits) for bits in ACTIVATION_BITS])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--epochs", type=int, default=3, help="epochs of fine-tuning")
    parser.add_argument("--picture", type=Path, help="picture to write, such as accuracy.svg")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Prints the tables, and draws the picture.

    Args:
        args: Command-line arguments; those of the process if None.
    """
    options = parser().parse_args(args)
    silence_noise()
    torch.set_num_threads(1)
    print(f"{processor()}, torch {torch.__version__}")
    found = {}
    for name in options.only:
        metric, what = MODELS[name]
        path = trained(name, options.runs)
        with quiet():
            cli = build(["test", f"--ckpt_path={path}", *QUIET], reports=False)
        print(f"\n| {what} | {metric} | weights, MB | seconds |\n|---|---|---|---|")
        found[name] = rows(cli, path, metric, options.epochs)
    if options.picture is not None:
        draw(found, options.picture)
        print(f"\nsaved {options.picture}")


if __name__ == "__main__":
    main()
