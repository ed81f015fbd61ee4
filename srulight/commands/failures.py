"""What ends a command, as one sentence that says what to do."""

import re
import traceback
from collections.abc import Iterator

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from srulight.runtime.errors import InputError

# How jsonargparse begins to say where it was when a constructor refused what it was given.
_WRAPPED = re.compile("Does not validate against|Problem with given class_path|Parser key")
_NO_MEMORY = re.compile("can't allocate memory|not enough memory|[Cc]annot allocate memory")
_WORKER = re.compile(r"DataLoader worker \(.*\) (?:is killed by signal: (\w+)|exited)")


def sentence(error: Exception) -> str:
    """Says what ended a command, and what to do.

    Args:
        error: It; what it came from decides where that is more to the point.
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
        "SRULIGHT_DEBUG=1 before the command shows how it came to that"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _known(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or _NO_MEMORY.search(text):
        asked = re.search(r"allocate (\d+) bytes", text)
        much = f" for {int(asked[1]) / 1e9:,.1f} GB more" if asked else ""
        return f"there is no memory{much}: a smaller --data.batch_size or model needs less"
    if isinstance(error, RuntimeError) and (match := _WORKER.search(text)):
        how = f"was killed ({match[1]})" if match[1] else "died"
        return (
            f"a process that prepares batches {how}, as happens where memory runs out: "
            "--data.num_workers=0 does without such processes"
        )
    if isinstance(error, ModuleNotFoundError):
        if error.name is not None:
            return f"there is no module {error.name}: install its package, or run where it is"
        # Lightning, whose class needs a package, names it in the text alone.
        named = re.search(r"[`']([A-Za-z][\w-]*)", text)
        return f"{named[1]} is not installed: pip install {named[1]}" if named else text
    if isinstance(error, MisconfigurationException) or text.startswith("Early stopping cond"):
        return _line(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or _line(error)}"
    return None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
