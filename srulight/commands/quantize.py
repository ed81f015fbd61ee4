"""The command ``quantize``, which makes a quantized checkpoint and compares it with the original.

A quantized checkpoint has the format of every other one. In place of a matrix ``weight`` it
contains ``weight.values`` (8-bit integers), ``weight.scale`` (the scale of each row) and, if its
activations were calibrated, ``weight.range``.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import torch
from lightning.pytorch.utilities import rank_zero_info

from srulight.checkpoint import load, read, restore
from srulight.commands.arguments import ArgumentParser
from srulight.commands.quantize_report import Comparison
from srulight.commands.runs import find_checkpoint, title_of
from srulight.commands.training import TrainingCLI, build, quiet, silence_noise
from srulight.data.base import TaskData
from srulight.quantization import Settings, calibrate, quantize
from srulight.quantization.stored import BITS, Activations
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.program import program
from srulight.runtime.progress import progress
from srulight.tasks.base import Task
from srulight.training.resume.checkpoint_format import QUANTIZATION, require_checkpoint
from srulight.training.resume.checkpoint_io import AtomicCheckpointIO

_DESCRIPTION = """Stores the matrices of a trained model as 8-bit integers. The new checkpoint works
with predict, test, generate and validate like the original, but cannot be trained. The command
prints the metrics, the sizes and the speed of both. All other options, such as --data.root=FOLDER,
are those of test, and override the configuration in the checkpoint."""

KEPT = (
    "epoch", "global_step", "pytorch-lightning_version", "hyper_parameters",
    "hyper_parameters_dropped", "task", "metadata", "config", "loops",
)  # fmt: skip
"""Entries of the original that a quantized checkpoint also has; the others serve training."""


def parser() -> ArgumentParser:
    """Returns the parser of the options of ``quantize``."""
    parser = ArgumentParser(
        prog=f"{program()} quantize", description=_DESCRIPTION, allow_abbrev=False,
        usage=f"{program()} quantize --ckpt_path FILE [options]",
    )  # fmt: skip
    parser.add_argument(
        "--ckpt_path", required=True, metavar="FILE",
        help="checkpoint to quantize; best or last stands for that checkpoint of the newest run",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FILE",
        help="quantized checkpoint to write (default: beside the original, or in the working "
        "directory if the original is a folder, with -int8 after its name)",
    )  # fmt: skip
    parser.add_argument(
        "--activations", choices=get_args(Activations), default="dynamic",
        help="ranges in which the inputs of matrix products are rounded: dynamic takes that of "
        "each step of a sequence, and calibrated a fixed one, which occurred in training data "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--batches", type=int, default=16, metavar="N",
        help="number of training batches for --activations=calibrated (default: %(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--evaluate", choices=("test", "validate", "none"), default="test",
        help="data for the metrics and the speed before and after: those of test, those of "
        "validate, or none, which only writes the checkpoint (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S",
        help="duration of each measurement of the speed, in seconds; 0 measures no speed "
        "(default: %(default)g)",
    )  # fmt: skip
    return parser


def run(args: list[str]) -> None:
    """Runs ``quantize``.

    Args:
        args: Command-line arguments that follow the command.

    Raises:
        InputError: If the checkpoint cannot be quantized, or an option has a wrong value.
    """
    silence_noise()
    options, rest = parser().parse_known_args(args)
    check_range(1, **{"--batches": options.batches})
    check_range(0, 3600, **{"--seconds": options.seconds})
    path = find_checkpoint(options.ckpt_path, rest)
    output = _output(options.output, path, title_of(options.ckpt_path, path))
    stored = read(path)
    require_checkpoint(stored, str(path))
    if QUANTIZATION in stored:
        raise InputError(f"{path}: expected an original checkpoint, got a quantized one; pass the "
                         "checkpoint that it was made from")  # fmt: skip
    needs_data = options.evaluate != "none" or options.activations == "calibrated"
    cli = _prepared(options, path, rest) if needs_data else None
    task = restore(path, stored)
    names = quantize(task)
    if not names:
        raise InputError(
            f"{path}: expected a model with matrices of at least 8 columns, got "
            f"{type(task).__name__} without any; keep the original checkpoint"
        )
    rank_zero_info(f"quantized {len(names)} matrices")
    if cli is not None and options.activations == "calibrated":
        _calibrate(task, cli, options.batches)
    task.quantization = Settings(BITS, options.activations)
    checkpoint = {name: stored[name] for name in KEPT if name in stored}
    checkpoint["state_dict"] = task.state_dict()
    checkpoint[QUANTIZATION] = asdict(task.quantization)
    AtomicCheckpointIO().save_checkpoint(checkpoint, output)
    comparison = Comparison(path, output, stored["state_dict"], checkpoint["state_dict"])
    if cli is not None and options.evaluate != "none":
        comparison.evaluate(cli, load(output), options.seconds)
    print(comparison.text())
    print(f"saved {output}")


def _output(given: str | None, path: Path, title: str) -> Path:
    """Returns the path of the new checkpoint, and refuses one that cannot be written."""
    if given is not None:
        output = Path(given)
    elif path.is_dir():
        output = Path(f"{title}-int8.ckpt")
    else:
        output = path.with_name(f"{path.stem}-int8{path.suffix}")
    if output.is_dir():
        raise InputError(f"--output must be a file, got the folder {output}")
    if output.exists() and output.samefile(path):
        raise InputError(f"--output must not be the original checkpoint, got {output}")
    there = next(f for f in (output, *output.absolute().parents) if f.exists())
    if not os.access(there, os.W_OK) or not (there.is_dir() or there == output):
        raise InputError(f"--output: {output} cannot be written; pass another file")
    return output


def _prepared(options: argparse.Namespace, path: Path, rest: list[str]) -> TrainingCLI:
    """Evaluates the original, which also sets up its data and its trainer."""
    command = "validate" if options.evaluate == "validate" else "test"
    few = ["--trainer.limit_test_batches=1"] if options.evaluate == "none" else []
    with quiet():
        return build([command, *rest, *few, f"--ckpt_path={path}"], reports=False)


def _calibrate(task: Task, cli: TrainingCLI, most: int) -> None:
    data = cli.datamodule
    assert isinstance(data, TaskData)
    data.setup("fit")

    def batches() -> Iterator[Any]:
        yield from islice(iter(data.train_dataloader()), most)

    with torch.inference_mode():
        shown = progress(batches(), "calibrating", most)
        matrices, count = calibrate(task, shown, task.loss)
    task.recurrent_state = None
    rank_zero_info(f"calibrated the activations of {matrices} matrices on {count} training batches")
