"""Translates exceptions into one-sentence errors that say what to do."""

import re
import traceback
from collections.abc import Iterator

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from srulight.runtime.errors import InputError

# First words of jsonargparse's errors for an exception that a constructor raised.
_WRAPPED = re.compile("Does not validate against|Problem with given class_path|Parser key")
_NO_MEMORY = re.compile("can't allocate memory|not enough memory|[Cc]annot allocate memory")
_WORKER = re.compile(r"DataLoader worker \(.*\) (?:is killed by signal: (\w+)|exited)")


def sentence(error: Exception) -> str:
    """Returns the error message for an exception that ended a command.

    Args:
        error: The exception. If its cause is more specific, the message describes the cause.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, InputError):
            return str(cause)
    for cause in causes:
        if known := _known(cause):
            return known
    if _WRAPPED.match(str(error)):
        return _line(causes[-1])
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"unexpected {type(error).__name__} in {where.filename}:{where.lineno}: {_line(error)}; "
        "set SRULIGHT_DEBUG=1 to see the traceback"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _known(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or _NO_MEMORY.search(text):
        asked = re.search(r"allocate (\d+) bytes", text)
        much = f" (could not allocate {int(asked[1]) / 1e9:,.1f} GB)" if asked else ""
        return f"out of memory{much}; reduce --data.batch_size or the size of the model"
    if isinstance(error, RuntimeError) and (match := _WORKER.search(text)):
        how = f"was killed ({match[1]})" if match[1] else "died"
        return (
            f"a worker process that prepares batches {how}, possibly because memory ran out; set "
            "--data.num_workers=0 to prepare batches in the main process"
        )
    if isinstance(error, TypeError) and text.endswith("must be a mapping, not NoneType"):
        return (
            "a group of options, such as --data.augmentation, cannot be null; set each of its "
            "options, such as --data.augmentation.flip=false"
        )
    if isinstance(error, ModuleNotFoundError):
        if error.name is not None:
            return (
                f"no module named {error.name!r}; install its package, or run the command from the "
                "folder that contains it"
            )
        # If a class of Lightning needs a package, only the text of its error names the package.
        named = re.search(r"[`']([A-Za-z][\w-]*)", text)
        return f"{named[1]} is not installed; run pip install {named[1]}" if named else text
    if isinstance(error, MisconfigurationException) or text.startswith("Early stopping cond"):
        return _line(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or _line(error)}"
    return None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
