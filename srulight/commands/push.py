"""The command ``push``, which uploads the model of a checkpoint to the Hugging Face hub."""

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from srulight.checkpoint import describe, read, restore
from srulight.commands.arguments import ArgumentParser
from srulight.commands.runs import find_checkpoint
from srulight.commands.stored import TAKEN
from srulight.hub.card import card
from srulight.hub.folder import shared, written
from srulight.hub.library import show_progress_on_terminals
from srulight.hub.names import require_repo, require_revision
from srulight.hub.upload import Upload
from srulight.runtime.errors import InputError
from srulight.runtime.program import program

_DESCRIPTION = """Uploads the model of a checkpoint to a repository of the Hugging Face hub: the
weights as safetensors, settings and vocabulary as JSON, checksums and a model card. The state of
the training is left out, and absolute paths in the settings are shortened to their last part.
Without --confirm, the command shows what it would upload, and opens no connection. It takes the
token from HF_TOKEN, or from the login of the program hf."""


def run(args: list[str]) -> None:
    """Runs ``push``.

    Args:
        args: Command-line arguments that follow the command.

    Raises:
        InputError: If an option has a wrong value, the checkpoint cannot be loaded, or the hub
            refuses the upload.
    """
    options = parser().parse_args(args)
    repo = require_repo(options.repo, "--repo")
    if options.branch is not None:
        require_revision(options.branch, "--branch")
    if not options.message.strip():
        raise InputError("--message must not be empty; pass a text, or leave it out")
    folder = _folder(options.output)
    path = find_checkpoint(options.ckpt_path)
    checkpoint = read(path)
    rank_zero_info(f"loading {describe(path, checkpoint)}")
    checkpoint = shared(checkpoint, TAKEN)
    # What does not load here does not load anywhere.
    count = sum(parameter.numel() for parameter in restore(path, checkpoint).parameters())
    text = card(checkpoint, count, options.license, repo)
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), "model")
        stack.enter_context(written(checkpoint, text, folder, options.output is not None))
        upload = Upload(folder, repo, not options.public, options.branch, options.message)
        print(upload.text(), flush=True)
        if options.output is not None:
            print(f"wrote {folder}", flush=True)
        if not options.confirm:
            print("nothing was uploaded; add --confirm to upload these files", flush=True)
            return
        show_progress_on_terminals()
        print(f"uploaded {upload.run(rank_zero_info)}", flush=True)


def _folder(output: str | None) -> Path | None:
    """Returns the folder to keep, and refuses one that exists or cannot be written."""
    if output is None:
        return None
    folder = Path(output)
    if os.path.lexists(folder):
        raise InputError(f"--output: {folder} exists already; pass another folder, or remove it")
    there = next(parent for parent in folder.absolute().parents if parent.exists())
    if not os.access(there, os.W_OK) or not there.is_dir():
        raise InputError(f"--output: {folder} cannot be written; pass another folder")
    return folder


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of ``push``."""
    parser = ArgumentParser(prog=f"{program()} push", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument(
        "--ckpt_path", required=True, metavar="FILE",
        help="checkpoint to upload, quantized or not; best or last stands for that checkpoint of "
        "the newest run",
    )  # fmt: skip
    parser.add_argument(
        "--repo", required=True, metavar="OWNER/NAME",
        help="repository to upload to; it is created if it does not exist",
    )  # fmt: skip
    parser.add_argument(
        "--confirm", action="store_true",
        help="upload; without this option, the command only shows what it would upload",
    )  # fmt: skip
    parser.add_argument(
        "--public", action="store_true",
        help="let everyone see the model (default: a new repository is private)",
    )  # fmt: skip
    parser.add_argument(
        "--branch", metavar="NAME",
        help="branch to upload to; it is created if it does not exist (default: the default "
        "branch)",
    )  # fmt: skip
    parser.add_argument(
        "--license", default="", metavar="NAME",
        help="license of the weights for the model card, such as mit (default: not stated)",
    )  # fmt: skip
    parser.add_argument(
        "--message", default="Upload a model with srulight", metavar="TEXT",
        help="message of the commit (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FOLDER",
        help="also keep the files that are uploaded in this folder, which loads like a checkpoint",
    )  # fmt: skip
    return parser
