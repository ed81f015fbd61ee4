"""The entry point, which prints the help or runs a command.

This module imports nothing heavy, so that the help appears at once: importing torch and Lightning
takes seconds.
"""

import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from srulight import __version__
from srulight.runtime.allocator import tune_allocator
from srulight.runtime.errors import InputError
from srulight.runtime.program import program

TRAINING = ("fit", "validate", "test")
ANSWERING = ("predict", "generate")
OTHERS = {
    "bench": "srulight.commands.bench",
    "compare": "srulight.experiments.compare",
    "doctor": "srulight.commands.doctor",
    "export": "srulight.commands.export",
    "push": "srulight.commands.push",
    "quantize": "srulight.commands.quantize",
    "serve": "srulight.commands.serve",
    "sweep": "srulight.experiments.sweep",
}
"""Modules of the commands that parse their own options; each has a function ``run``."""

HELP = """\
srulight: train simple recurrent units (SRU) and other sequence encoders.

usage: python train.py COMMAND [options]

commands:
  fit        train a model, and keep the best and the last checkpoint
  validate   evaluate a checkpoint on the validation data
  test       evaluate a checkpoint on the test data
  predict    apply a checkpoint to new input: classify, score or translate lines, transcribe
             recordings, or answer questions
  generate   continue a prompt with a language model
  export     write a network for other programs: ONNX, torch.export or AOTInductor
  push       upload a model to the Hugging Face hub; without --confirm, only show what it would send
  quantize   store the weights of a checkpoint with 8 or 4 bits, and compare both checkpoints
  serve      answer requests over HTTP with a checkpoint
  compare    train several encoders under the same conditions, and compare the results
  doctor     check this installation, and describe it for a bug report
  bench      time layers side by side: SRU, LSTM, convolutions and others
  sweep      search for good settings, such as the learning rate, with many short trainings

--ckpt_path=best or last stands for that checkpoint of the newest run.

examples:
  # train and evaluate a classifier on the embedded data
  python train.py fit --config configs/quickstart.yaml
  python train.py test --ckpt_path=best
  echo "not dull but charming" | python train.py predict --ckpt_path=best

  # resume the newest run, with more epochs
  python train.py fit --ckpt_path=last --trainer.max_epochs=30

  # use another encoder, tokenizer or corpus
  python train.py fit --config configs/quickstart.yaml --model.encoder=LSTM
  python train.py fit --config configs/quickstart.yaml --data.tokenizer=Characters
  python train.py fit --config configs/sst.yaml --data.root=FOLDER --data.download=true

  # train and use models for other tasks
  python train.py fit --config configs/translation.yaml
  python train.py fit --config configs/language_model.yaml
  python train.py generate --ckpt_path=best --prompt="the plot was"
  python train.py predict --ckpt_path=best --input recording.wav FOLDER

  # write the network for ONNX Runtime, with an example
  python train.py export --ckpt_path=best --format=onnx --output=exported
  # make a smaller checkpoint, which takes the place of the original
  python train.py quantize --ckpt_path=best --output=small.ckpt
  python train.py test --ckpt_path=small.ckpt
  # answer requests over HTTP, in batches
  python train.py serve --ckpt_path=best --port=8000

  # search for a learning rate and an encoder
  python train.py sweep --config configs/quickstart.yaml --epochs 5 \\
    --range model.optimizer.lr=log:1e-4..1e-2 "model.encoder=SRU|LSTM"

more help:
  python train.py fit --help                            list all options (long)
  python train.py fit --model.help=TextClassification   list the options of a task
  python train.py fit --data.help=TextClassificationData
  python train.py fit --config FILE --print_config      print the whole configuration
  python train.py predict --ckpt_path=best --help       list the options for that checkpoint
  python train.py compare --help                        list the options of compare
  python train.py export --help                         list the options of export
  python train.py serve --help                          list the options of serve
  python train.py bench --help                          list the layers and options of bench
  python train.py sweep --help                          list the options of sweep
  python train.py --version                             print the version
"""


def main(args: list[str] | None = None) -> None:
    """Runs the command line.

    Args:
        args: Arguments to use instead of ``sys.argv``.
    """
    # On a shared machine, OpenMP threads that spin while they wait for each other make small steps
    # many times slower. A short spin costs nothing on an idle machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    tune_allocator()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Use UTF-8 in any locale. File names may contain bytes that are not UTF-8.
            stream.reconfigure(encoding="utf-8", errors="replace")
    # Make the user's own modules importable from the working directory. It comes last, so that no
    # module there shadows a library.
    with suppress(FileNotFoundError):  # the working directory may be gone
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP.replace("python train.py", program()), end="")
    elif args[0] in ("-V", "--version"):
        print(f"srulight {__version__}")
    else:
        try:
            _run(args[0], args[1:])
            sys.stdout.flush()
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as error:
            if os.environ.get("SRULIGHT_DEBUG"):
                raise
            _leave(error)


def _leave(error: Exception) -> NoReturn:
    """Exits with an error message; exits silently if a reader such as ``head`` closed the pipe."""
    if isinstance(error, OSError) and error.filename is None:
        try:
            sys.stdout.flush()
            # Python does not say whether writing to standard output failed. If so, it fails again.
            os.write(sys.stdout.fileno(), b"\n")
        except OSError as lost:
            # Prevent Python from reporting the same error again when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(lost, BrokenPipeError):
                sys.exit(141)
            sys.exit(f"error: cannot write to standard output: {lost.strerror}")
    from srulight.commands.failures import sentence

    sys.exit(f"error: {sentence(error)}")


def _run(command: str, args: list[str]) -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:  # libraries of torch would abort the process
        raise InputError(
            "the working directory no longer exists; change to another directory"
        ) from error
    if command in TRAINING:
        from srulight.commands.training import run

        run(command, args)
    elif command in ANSWERING:
        from srulight.commands import predict

        getattr(predict, command)(args)
    elif command in OTHERS:
        import_module(OTHERS[command]).run(args)
    else:
        from difflib import get_close_matches

        close = get_close_matches(command, (*TRAINING, *ANSWERING, *OTHERS), 1)
        hint = f"did you mean {close[0]}?" if close else f"see {program()} --help"
        raise InputError(f"there is no command {command!r}; {hint}")
