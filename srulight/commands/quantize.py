"""The command ``quantize``, which makes a quantized checkpoint and compares it with the original.

A quantized checkpoint has the format of every other one. In place of a matrix ``weight`` it
contains ``weight.values`` (8-bit integers), ``weight.scale`` (the scale of each row) and, if its
activations were calibrated, ``weight.range``. With 4 bits, it contains ``weight.indices``,
``weight.codebook``, ``weight.scale`` and, if its activations were calibrated, ``weight.fraction``.
"""

import argparse
import os
from pathlib import Path
from typing import get_args

from lightning.pytorch.utilities import rank_zero_info

from srulight.checkpoint import load, read, restore
from srulight.commands.arguments import ArgumentParser
from srulight.commands.quantize_report import Comparison
from srulight.commands.quantize_training import calibrate_task, fine_tune
from srulight.commands.runs import find_checkpoint, title_of
from srulight.commands.training import TrainingCLI, build, quiet, silence_noise
from srulight.ops.fixed_point import LEAST_BITS, MOST_BITS
from srulight.quantization import Settings, quantize
from srulight.quantization.stored import BITS, Activations
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.program import program
from srulight.training.resume.checkpoint_format import QUANTIZATION, require_checkpoint
from srulight.training.resume.checkpoint_io import AtomicCheckpointIO

_DESCRIPTION = """Stores the matrices of a trained model with 8 or 4 bits per weight. The new
checkpoint works with predict, test, generate and validate like the original, but cannot be trained.
The command prints the metrics, the sizes and the speed of both. All other options, such as
--data.root=FOLDER, are those of test, and override the configuration in the checkpoint."""

_ACTIVATIONS: dict[int, Activations] = {8: "dynamic", 4: "calibrated"}
"""Default of ``--activations`` for each number of bits."""

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
        "directory if the original is a folder, with -int8 or -4bit after its name)",
    )  # fmt: skip
    parser.add_argument(
        "--bits", type=int, choices=BITS, default=8,
        help="bits of a weight: 8 for an integer, 4 for an index into a codebook of 16 integers "
        "(default: %(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--codebook_rows",
        type=int,
        metavar="N",
        help="with --bits=4, largest number of rows of a matrix that share a codebook (default: 1)",
    )
    parser.add_argument(
        "--activation_bits", type=int, metavar="N",
        help="with --bits=4, number of bits to which the inputs of matrix products are rounded, "
        f"{LEAST_BITS} to {MOST_BITS} (default: {MOST_BITS})",
    )  # fmt: skip
    parser.add_argument(
        "--activations", choices=get_args(Activations),
        help="ranges in which the inputs of matrix products are rounded: dynamic takes that of "
        "each step of a sequence, and calibrated a fixed one, which follows training data "
        "(default: dynamic for 8 bits, calibrated for 4 bits)",
    )  # fmt: skip
    parser.add_argument(
        "--batches", type=int, default=16, metavar="N",
        help="number of training batches for --activations=calibrated (default: %(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=int, default=0, metavar="N",
        help="with --bits=4, number of epochs of fine-tuning, after which the model has the "
        "weights of the best validation (default: %(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--learning_rate",
        type=float,
        metavar="LR",
        help="learning rate of the fine-tuning (default: a tenth of that in the configuration)",
    )
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
    _check(options)
    path = find_checkpoint(options.ckpt_path, rest)
    output = _output(options.output, path, title_of(options.ckpt_path, path), options.bits)
    stored = read(path)
    require_checkpoint(stored, str(path))
    if QUANTIZATION in stored:
        raise InputError(f"{path}: expected an original checkpoint, got a quantized one; pass the "
                         "checkpoint that it was made from")  # fmt: skip
    calibrated = options.activations == "calibrated"
    needs_data = options.evaluate != "none" or calibrated or options.epochs > 0
    cli = _prepared(options, path, rest) if needs_data else None
    task = restore(path, stored)
    trained = [parameter for parameter in task.parameters() if parameter.requires_grad]
    names = quantize(task, options.bits, options.codebook_rows, options.activation_bits)
    if not names:
        raise InputError(
            f"{path}: expected a model with matrices of at least 8 columns, got "
            f"{type(task).__name__} without any; keep the original checkpoint"
        )
    rank_zero_info(f"quantized {len(names)} matrices")
    if cli is not None and calibrated:
        calibrate_task(task, cli, options.batches)
    if cli is not None and options.epochs:
        fine_tune(task, cli, trained, options.epochs, options.learning_rate)
    activation_bits = options.activation_bits if options.bits == 4 else None
    task.quantization = Settings(options.bits, options.activations, activation_bits)
    checkpoint = {name: stored[name] for name in KEPT if name in stored}
    checkpoint["state_dict"] = task.state_dict()
    checkpoint[QUANTIZATION] = task.quantization.stored()
    AtomicCheckpointIO().save_checkpoint(checkpoint, output)
    comparison = Comparison(path, output, stored["state_dict"], checkpoint["state_dict"])
    if cli is not None and options.evaluate != "none":
        comparison.evaluate(cli, load(output), options.seconds)
    print(comparison.text())
    print(f"saved {output}")


def _check(options: argparse.Namespace) -> None:
    """Checks the options, and fills in the defaults that depend on the bits."""
    check_range(1, **{"--batches": options.batches, "--codebook_rows": options.codebook_rows})
    check_range(LEAST_BITS, MOST_BITS, **{"--activation_bits": options.activation_bits})
    check_range(0, 3600, **{"--seconds": options.seconds})
    check_range(0, **{"--epochs": options.epochs})
    if options.learning_rate is not None and not 0 < options.learning_rate < float("inf"):
        raise InputError(f"--learning_rate must be above 0, got {options.learning_rate}")
    if options.bits != 4:
        for name in ("codebook_rows", "activation_bits", "epochs"):
            if getattr(options, name):
                raise InputError(f"--{name} needs --bits=4, got {options.bits}; add --bits=4")
    if options.learning_rate is not None and not options.epochs:
        raise InputError("--learning_rate needs --epochs of at least 1, got 0; add --epochs=5")
    options.codebook_rows = options.codebook_rows or 1
    options.activation_bits = options.activation_bits or MOST_BITS
    options.activations = options.activations or _ACTIVATIONS[options.bits]


def _output(given: str | None, path: Path, title: str, bits: int) -> Path:
    """Returns the path of the new checkpoint, and refuses one that cannot be written."""
    end = "int8" if bits == 8 else "4bit"
    if given is not None:
        output = Path(given)
    elif path.is_dir():
        output = Path(f"{title}-{end}.ckpt")
    else:
        output = path.with_name(f"{path.stem}-{end}{path.suffix}")
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
