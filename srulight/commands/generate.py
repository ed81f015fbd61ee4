"""generate: let a language model write on."""

import contextlib
import sys

from srulight.commands.parser import Parser
from srulight.commands.runs import open_task
from srulight.runtime.errors import InputError
from srulight.runtime.files import well_formed
from srulight.runtime.program import program
from srulight.tasks.language_modelling.task import LanguageModelling


def generate(
    ckpt_path: str,
    prompt: str = "",
    length: int = 200,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | None = None,
    device: str = "cpu",
) -> None:
    """Writes text as it comes, the prompt first; Ctrl-C ends it.

    Args:
        ckpt_path: Checkpoint of a language model; best or last means that of the newest run.
        prompt: Text to go on from, in the form that the model was trained on; the start of a line
            if empty.
        length: Tokens (words, characters or bytes) to write.
        temperature: Divides log-probabilities: below 1 keeps to what is likely; 0 always takes the
            likeliest.
        top_k: Tokens to choose among, the likeliest; 0 for all.
        top_p: Probability that the tokens to choose among have together, above 0 to 1.
        seed: Number that decides what is drawn; another each time if not given.
        device: Where to compute: cpu, cuda, cuda:1.
    """
    task = open_task(ckpt_path, device)
    if not isinstance(task, LanguageModelling):
        raise InputError(
            f"{ckpt_path} holds a {type(task).__name__}; generate needs LanguageModelling"
        )
    # Before the prompt is shown: a number may be out of range.
    pieces = task.generate(prompt, length, temperature, top_k, top_p, seed)
    sys.stdout.write(well_formed(prompt))
    with contextlib.suppress(KeyboardInterrupt):
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    sys.stdout.write("\n")


def run(args: list[str]) -> None:
    """Parses the arguments of :func:`generate` and calls it."""
    parser = Parser(prog=f"{program()} generate", description="")
    parser.add_function_arguments(generate, as_group=False)
    generate(**parser.parse_args(args))
