"""The command ``serve``, which answers requests over HTTP with the task of a checkpoint."""

import argparse
import os
import sys
from dataclasses import fields
from typing import Any

from srulight.commands.arguments import ArgumentParser
from srulight.commands.failures import sentence
from srulight.commands.runs import open_task
from srulight.ops import extension
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.program import program
from srulight.serving.access import is_loopback
from srulight.serving.app import build_app
from srulight.serving.batcher import Batcher
from srulight.serving.limits import Limits
from srulight.serving.metrics import Metrics
from srulight.serving.server import check_packages, listen
from srulight.serving.server import run as run_server
from srulight.serving.services import service_of

TOKEN = "SRULIGHT_TOKEN"
"""Environment variable with the token, which a list of processes would show as an option."""

_DESCRIPTION = """Answers requests over HTTP with the model of a checkpoint: POST /v1/predict with
JSON or with a file, POST /v1/generate for language models, and a WebSocket at /v1/stream for speech
and sequences. GET /docs describes all endpoints, and / is a page to try the model in a browser.
Ctrl-C or SIGTERM stops the server after it has answered the requests that it has received."""

_HELP = {
    "max_body": "size of a request, or of a message of a stream, in MB",
    "max_inputs": "number of inputs in a request",
    "max_characters": "number of characters of a text",
    "max_steps": "number of steps of a sequence of numbers",
    "max_seconds": "duration of a recording, or of a message of a stream, in seconds",
    "max_stream_seconds": "duration of the audio of a stream, in seconds",
    "max_frames": "number of frames of a video",
    "max_length": "number of tokens to generate for a prompt",
    "max_queue": "number of requests that wait for the model; others get status 503",
    "max_streams": "number of open streams",
    "timeout": "time to receive and to answer a request, in seconds; later, it gets status 504",
}


def run(args: list[str]) -> None:
    """Runs ``serve`` until a signal stops it.

    Args:
        args: Command-line arguments that follow the command.

    Raises:
        InputError: If an option is out of range, the checkpoint cannot be loaded, or the address
            cannot be used.
    """
    options = parser().parse_args(args)
    check_range(1, **{"--batch_size": options.batch_size})
    check_range(0, 10_000, **{"--batch_wait": options.batch_wait})
    check_range(0, 65535, **{"--port": options.port})
    limits = Limits(**{field.name: getattr(options, field.name) for field in fields(Limits)})
    token = _token(options)
    check_packages()
    with listen(options.host, options.port) as opened:
        service = service_of(open_task(options.ckpt_path, options.device), limits)
        # The first request should not wait until the kernels are built.
        extension.load(service.task.device.type)
        metrics = Metrics()
        batcher = Batcher(
            lambda inputs, chosen: service.answer(inputs, dict(chosen)),
            options.batch_size, options.batch_wait / 1000, limits.max_queue, metrics,
        )  # fmt: skip
        with batcher:
            app = build_app(service, batcher, limits, metrics, token, _report)
            run_server(app, opened, limits.body_bytes, limits.timeout)


def parser() -> ArgumentParser:
    """Returns the parser of the options of ``serve``."""
    parser = ArgumentParser(prog=f"{program()} serve", description=_DESCRIPTION, allow_abbrev=False)
    add: Any = parser.add_argument
    add("--ckpt_path", required=True, metavar="FILE", help="checkpoint; best or last stands for "
        "that checkpoint of the newest run, and owner/name for a model of the Hugging Face "
        "hub")  # fmt: skip
    add("--host", default="127.0.0.1", help="name or address to listen on; one that other machines "
        "can reach needs a token (default: %(default)s)")  # fmt: skip
    add("--port", type=int, default=8000, help="port; 0 chooses a free one (default: %(default)s)")
    add("--token", help="text that clients send in the header 'Authorization: Bearer TOKEN'; the "
        f"environment variable {TOKEN} sets it as well, and lists of processes do not show it",
    )  # fmt: skip
    add("--device", default="cpu", help="device to compute on, such as cpu, cuda or cuda:1 "
        "(default: %(default)s)")  # fmt: skip
    add("--batch_size", type=int, default=32, help="number of inputs that the model computes "
        "together (default: %(default)s)")  # fmt: skip
    add("--batch_wait", type=float, default=0.0, metavar="MS", help="time that a request waits for "
        "others to share a batch, in milliseconds (default: %(default)g)")  # fmt: skip
    limits = parser.add_argument_group("limits")
    for field in fields(Limits):
        limits.add_argument(
            f"--{field.name}", type=field.type, default=field.default,
            help=f"{_HELP[field.name]} (default: {field.default:,g})",
        )  # fmt: skip
    return parser


def _token(options: argparse.Namespace) -> str | None:
    """Returns the token; raises InputError if there is none and other machines could connect."""
    token: str | None = options.token or os.environ.get(TOKEN)
    if options.token == "" or (token is not None and (not token.isascii() or " " in token)):
        raise InputError("--token must be ASCII text without spaces; pass a random text")
    if token is None and not is_loopback(options.host):
        raise InputError(
            f"--host={options.host} needs a token, because other machines can connect; pass "
            f"--token=TOKEN, or set {TOKEN}"
        )
    return token


def _report(error: Exception) -> None:
    print(f"error: {sentence(error)}", file=sys.stderr, flush=True)
