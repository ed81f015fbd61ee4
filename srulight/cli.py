"""The entry point: answers ``--help`` at once, and runs the command that was asked for.

Nothing heavy is imported here: torch and Lightning take seconds.
"""

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

from srulight import __version__
from srulight.runtime.allocator import tune_allocator
from srulight.runtime.errors import InputError
from srulight.runtime.program import program

TRAINING = ("fit", "validate", "test")
ANSWERING = ("predict", "generate")

HELP = """\
srulight: train simple recurrent units, and the encoders they are compared with, on sequence tasks.

usage: python train.py COMMAND [options]

commands:
  fit        train, and keep the best and the last checkpoint
  validate   evaluate a checkpoint on the validation data
  test       evaluate a checkpoint on the test data
  predict    apply a checkpoint to raw input: classify, score or translate lines, transcribe
             recordings, answer questions
  generate   continue a prompt with the checkpoint of a language model

examples:
  python train.py fit --config configs/quickstart.yaml
  python train.py fit --config configs/quickstart.yaml --model.encoder=LSTM
  python train.py fit --config configs/quickstart.yaml --data.tokenizer=Characters
  python train.py fit --config configs/sst.yaml --data.root=FOLDER --data.download=true
  python train.py fit --config configs/quickstart.yaml --ckpt_path=last       (resume)
  python train.py test --ckpt_path=best                                       (needs no --config)
  echo "not dull but charming" | python train.py predict --ckpt_path=best
  python train.py predict --ckpt_path=best --input recording.wav FOLDER       (speech)
  python train.py fit --config configs/translation.yaml
  python train.py fit --config configs/language_model.yaml
  python train.py generate --ckpt_path=best --prompt="the plot was"

more:
  python train.py fit --help                          every option (long)
  python train.py fit --model.help=TextClassification options of a task
  python train.py fit --data.help=TextClassificationData
  python train.py fit --config FILE --print_config    the whole configuration, defaults included
  python train.py predict --ckpt_path=best --help     the options of its task (also of generate)
  python train.py --version
"""


def main(args: list[str] | None = None) -> None:
    """Runs the command line.

    Args:
        args: Arguments to use in place of ``sys.argv``.
    """
    # On a machine that others use too, OpenMP threads that spin while they wait for each other make
    # small steps many times slower. Spinning for a moment only costs nothing when alone.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    tune_allocator()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Whatever the locale; the names of files may have what no text has.
            stream.reconfigure(encoding="utf-8", errors="replace")
    # Modules of the user's own are found where they stand, as by python itself; last, so that none
    # takes the place of a library.
    with suppress(FileNotFoundError):  # it may be gone
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
    """Ends the process with a sentence; without a word where nobody reads on, as after ``head``."""
    if isinstance(error, OSError) and error.filename is None:
        try:
            sys.stdout.flush()
            # Was it this that failed? Python does not say; it fails again if it was.
            os.write(sys.stdout.fileno(), b"\n")
        except OSError as lost:
            # Python itself would complain once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(lost, BrokenPipeError):
                sys.exit(141)
            sys.exit(f"error: standard output could not be written: {lost.strerror}")
    from srulight.commands.failures import sentence

    sys.exit(f"error: {sentence(error)}")


def _run(command: str, args: list[str]) -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:  # libraries of torch would end the process
        raise InputError("the working directory is gone: change to another one") from error
    if command in TRAINING:
        from srulight.commands.training import run

        run(command, args)
    elif command in ANSWERING:
        from srulight.commands import predict

        getattr(predict, command)(args)
    else:
        from difflib import get_close_matches

        close = get_close_matches(command, (*TRAINING, *ANSWERING), 1)
        hint = f"did you mean {close[0]}?" if close else f"see {program()} --help"
        raise InputError(f"there is no command {command!r}; {hint}")
