"""Runs a check in a process of its own, which a damaged library may kill."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any


class IsolatedError(RuntimeError):
    """A function failed in its process, or the process died. The message says how."""


def call(
    function: Callable[..., Any],
    *args: Any,  # noqa: ANN401
    environment: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Any:  # noqa: ANN401
    """Runs a function in another process and returns its result.

    On Linux, the processes are forked from one that has imported torch but computed nothing, so
    only the first one takes seconds to start. What they print goes to standard error.

    Args:
        function: Function of a module.
        *args: Its arguments, which can be pickled.
        environment: Environment variables that differ from those of this process.
        timeout: Seconds after which the process is killed.

    Raises:
        IsolatedError: If the function raises an exception, or its process dies or takes too long.
    """
    context: Any = get_context("forkserver" if sys.platform == "linux" else "spawn")
    # Autograd imports the second one when it first runs, which takes seconds.
    context.set_forkserver_preload(
        ["srulight.doctor.comparison", "torch.fx.experimental.symbolic_shapes"]
    )
    receiver, sender = context.Pipe(duplex=False)
    all_variables = {**os.environ, **(environment or {})}
    process = context.Process(target=_run, args=(sender, all_variables, function, args))
    try:
        process.start()
    except (OSError, EOFError) as error:
        raise IsolatedError(f"no process could be started: {error or 'it died'}") from error
    sender.close()
    try:
        if not receiver.poll(timeout):
            raise IsolatedError(f"the process did not answer within {timeout:.0f} seconds")
        failure, result = receiver.recv()
    except EOFError as error:
        process.join()
        raise IsolatedError(f"the process {_death(process.exitcode)}") from error
    finally:
        process.kill()
        process.join()
    if failure:
        raise IsolatedError(failure)
    return result


def _run(
    sender: Connection, environment: dict[str, str], function: Callable[..., Any], args: Any  # noqa: ANN401
) -> None:  # fmt: skip
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(2, 1)  # standard output is for the report
    try:
        answer = ("", function(*args))
    except BaseException as error:
        text = " ".join(str(error).split())
        answer = (f"{type(error).__name__}: {text}" if text else type(error).__name__, None)
    sender.send(answer)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with code {code}"
