"""The command ``export``, which writes the network of a checkpoint for other programs."""

import argparse
import warnings
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info

from srulight.checkpoint import describe, read, restore
from srulight.commands.arguments import ArgumentParser
from srulight.commands.runs import find_checkpoint, title_of
from srulight.export.folder import check_folder, export
from srulight.export.formats import FORMATS
from srulight.export.tasks import network_of
from srulight.quantization import with_floats
from srulight.runtime.program import program
from srulight.runtime.provenance import today
from srulight.training.resume.checkpoint_format import QUANTIZATION

_DESCRIPTION = """Writes the network of a checkpoint to a folder that runs without the training
code: models in ONNX, as programs of torch.export, or compiled by AOTInductor; the weights as
safetensors; settings and vocabulary as JSON; a model card; and, for ONNX, an example. The command
runs the export on random and on real input, and compares it with the checkpoint. It prints the
largest difference and the speed."""

FORMAT = (
    "onnx (standard operators only), torch (torch.export), aoti (AOTInductor) or aten "
    "(torch.export with PyTorch's own operators only, which is slow)"
)


def run(args: list[str]) -> None:
    """Runs ``export``.

    Args:
        args: Command-line arguments that follow the command.

    Raises:
        InputError: If the network cannot be exported, or the export differs from the checkpoint.
    """
    options = parser().parse_args(args)
    form = FORMATS[options.format]()
    form.check()
    path = find_checkpoint(options.ckpt_path)
    title = title_of(options.ckpt_path, path)
    folder = Path(options.output or f"{title}_{options.format}")
    check_folder(folder, options.overwrite)
    checkpoint = read(path)
    rank_zero_info(f"loading {describe(path, checkpoint)}")
    task = restore(path, checkpoint)
    if task.quantization is not None:
        _say("the export has floats in place of the integers of the checkpoint")
        weights = with_floats(task)
        checkpoint = {k: v for k, v in checkpoint.items() if k != QUANTIZATION}
        checkpoint["state_dict"] = weights
        task = restore(path, checkpoint)
    network = network_of(task)
    with warnings.catch_warnings():
        # torch.export warns about its own future.
        warnings.simplefilter("ignore")
        export(
            checkpoint, network, form, folder, inputs=options.input, overwrite=options.overwrite,
            license_name=options.license,
            machine=f"threads of the CPU: {torch.get_num_threads()}, {today()}", say=_say,
        )  # fmt: skip
    print(f"wrote {folder}", flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of ``export``."""
    parser = ArgumentParser(
        prog=f"{program()} export", description=_DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument(
        "--ckpt_path", required=True,
        help="path of the checkpoint to export; best or last stands for that checkpoint of the "
        "newest run, and owner/name for a model of the Hugging Face hub",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=list(FORMATS), default="onnx", help=f"{FORMAT} (default: onnx)"
    )
    parser.add_argument(
        "--output", metavar="FOLDER",
        help="folder to write (default: the names of the checkpoint and the format)",
    )  # fmt: skip
    parser.add_argument(
        "--input", nargs="+", default=[], metavar="FILE",
        help="files with real input for the comparison, as predict reads them (default: the "
        "embedded data of the task)",
    )  # fmt: skip
    parser.add_argument(
        "--license", default="", metavar="NAME",
        help="license of the weights for the model card, such as mit (default: not stated)",
    )  # fmt: skip
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the export in this folder, if any"
    )
    return parser
