"""The commands ``predict`` and ``generate``, which apply the task of a checkpoint.

Their options depend on the task. Therefore, the commands load the checkpoint first; its task's
``Predictor`` or ``Generator`` then determines the options and their help.
"""

import inspect
from typing import Any

from srulight.commands.parser import Parser
from srulight.commands.runs import open_task, peek
from srulight.runtime.errors import InputError
from srulight.runtime.program import program
from srulight.tasks.base import Task

_CKPT_PATH = (
    "Path of the checkpoint or of an exported folder to use; best or last stands for that "
    "checkpoint of the newest run, and owner/name for a model of the Hugging Face hub."
)
_DEVICE = "Device to compute on, such as cpu, cuda or cuda:1."
_OUTPUT = "File to write the results to; - means standard output."
_INPUT = "Files to read; what they contain depends on the task. - means standard input."
_MORE = """The options depend on the task of the checkpoint. To see them, run {program} {command}
--ckpt_path=FILE --help."""


def predict(args: list[str]) -> None:
    """Runs ``predict``: applies the task of a checkpoint to raw input and writes the results.

    Args:
        args: Command-line arguments that follow the command.
    """
    task, parser = _opened("predict", args)
    predictor = None if task is None else type(task).predictor
    inputs_help = _INPUT if predictor is None else predictor.inputs
    parser.add_argument("--input", nargs="+", type=str, default=["-"], help=inputs_help)
    parser.add_argument("--output", type=str, default="-", help=_OUTPUT)
    options = _options(parser, predictor, args)
    assert predictor is not None
    inputs, output = options.pop("input"), options.pop("output")
    predictor(**options).run(task, inputs, output)


def generate(args: list[str]) -> None:
    """Runs ``generate``: generates text with the task of a checkpoint.

    Args:
        args: Command-line arguments that follow the command.

    Raises:
        InputError: If the task cannot generate text.
    """
    task, parser = _opened("generate", args)
    generator = None if task is None else type(task).generator
    if task is not None and generator is None:
        raise InputError(
            f"{type(task).__name__} cannot generate text; pass the checkpoint of a task that can, "
            "such as LanguageModeling"
        )
    options = _options(parser, generator, args)
    assert generator is not None
    generator(**options).run(task)


def _opened(command: str, args: list[str]) -> tuple[Task | None, Parser]:
    """Loads the checkpoint that the arguments name, if any, and creates their parser."""
    name = peek(args, "ckpt_path")
    if name is None and not {"-h", "--help"} & {*args}:
        raise InputError(
            f"{command} needs a checkpoint; pass --ckpt_path=FILE, or best or last for that "
            "checkpoint of the newest run"
        )
    task = None if name is None else open_task(name, peek(args, "device") or "cpu")
    more = _MORE.format(program=program(), command=command)
    parser = Parser(prog=f"{program()} {command}", description=more)
    parser.of = f"{command} with a {type(task).__name__}" if task is not None else command
    parser.add_argument("--ckpt_path", type=str, required=True, help=_CKPT_PATH)
    parser.add_argument("--device", type=str, default="cpu", help=_DEVICE)
    return task, parser


def _options(parser: Parser, of: type | None, args: list[str]) -> dict[str, Any]:
    """Parses the arguments, and returns all options but those that load the checkpoint."""
    if of is not None:
        parser.description = (inspect.getdoc(of) or "").partition("\nArgs:")[0]
        parser.add_class_arguments(of, as_group=False)
    options: dict[str, Any] = parser.parse_args(args).as_dict()
    return {k: v for k, v in options.items() if k not in ("ckpt_path", "device")}
