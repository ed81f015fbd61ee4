"""predict and generate: what the task of a checkpoint does on the command line.

The options are those of the task: the checkpoint is read first, and the parser then takes, explains
and refuses what its task's ``Predictor`` or ``Generator`` says.
"""

import inspect
from typing import Any

from srulight.commands.parser import Parser
from srulight.commands.runs import open_task, peek
from srulight.runtime.errors import InputError
from srulight.runtime.program import program
from srulight.tasks.base import Task

_CKPT_PATH = "checkpoint to use; best or last means that of the newest run"
_DEVICE = "where to compute: cpu, cuda, cuda:1"
_OUTPUT = "file to write; - for standard output"
_MORE = """With a checkpoint, {program} {command} --ckpt_path=FILE --help, this shows what its task
reads, what it writes, and all its options."""


def predict(args: list[str]) -> None:
    """Runs ``predict``: reads raw input, and writes what the task of a checkpoint makes of it.

    Args:
        args: What follows the command.
    """
    task, parser = _opened("predict", args)
    predictor = None if task is None else type(task).predictor
    inputs_help = "depends on the task" if predictor is None else predictor.inputs
    parser.add_argument("--input", nargs="+", type=str, default=["-"], help=inputs_help)
    parser.add_argument("--output", type=str, default="-", help=_OUTPUT)
    options = _options(parser, predictor, args)
    assert predictor is not None
    inputs, output = options.pop("input"), options.pop("output")
    predictor(**options).run(task, inputs, output)


def generate(args: list[str]) -> None:
    """Runs ``generate``: lets the task of a checkpoint write text.

    Args:
        args: What follows the command.

    Raises:
        InputError: If the task does not generate.
    """
    task, parser = _opened("generate", args)
    generator = None if task is None else type(task).generator
    if task is not None and generator is None:
        raise InputError(
            f"a {type(task).__name__} does not generate text: --ckpt_path must be of a task that "
            "does, such as LanguageModelling"
        )
    options = _options(parser, generator, args)
    assert generator is not None
    generator(**options).run(task)


def _opened(command: str, args: list[str]) -> tuple[Task | None, Parser]:
    """Opens the checkpoint that the arguments name, if they do, and makes their parser."""
    name = peek(args, "ckpt_path")
    if name is None and not {"-h", "--help"} & {*args}:
        raise InputError(
            f"{command} needs a checkpoint: --ckpt_path=FILE; best or last means that of the "
            "newest run"
        )
    task = None if name is None else open_task(name, peek(args, "device") or "cpu")
    more = _MORE.format(program=program(), command=command)
    parser = Parser(prog=f"{program()} {command}", description=more)
    parser.of = f"{command} with a {type(task).__name__}" if task is not None else command
    parser.add_argument("--ckpt_path", type=str, required=True, help=_CKPT_PATH)
    parser.add_argument("--device", type=str, default="cpu", help=_DEVICE)
    return task, parser


def _options(parser: Parser, of: type | None, args: list[str]) -> dict[str, Any]:
    """Parses the arguments, and gives what the class takes, and what is not of the checkpoint."""
    if of is not None:
        parser.description = (inspect.getdoc(of) or "").partition("\nArgs:")[0]
        parser.add_class_arguments(of, as_group=False)
    options: dict[str, Any] = parser.parse_args(args).as_dict()
    return {k: v for k, v in options.items() if k not in ("ckpt_path", "device")}
